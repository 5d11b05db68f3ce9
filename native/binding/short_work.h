// Short core work (well below a second) on one of Node's own threads → a Promise. Starting a thread would
// cost more than decoding a small frame.
#pragma once

#include <napi.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "base/error.h"
#include "binding/convert.h"

namespace seekable::binding {

class ShortWork final : public Napi::AsyncWorker {
 public:
  // The promise resolves with nothing, or rejects with the error. `work` uses the memory of `kept` without a
  // copy: they stay referenced until it is settled, and JavaScript must leave them alone until then.
  static Napi::Promise start(Napi::Env env, std::initializer_list<Napi::Value> kept,
                             std::function<Status()> work) {
    auto* worker = new ShortWork(env, std::move(work));  // deletes itself
    for (const Napi::Value& value : kept) worker->kept_.push_back(Napi::Persistent(value.As<Napi::Object>()));
    worker->Queue();
    return worker->deferred_.Promise();
  }

 private:
  ShortWork(Napi::Env env, std::function<Status()> work)
      : AsyncWorker(env), work_(std::move(work)), deferred_(Napi::Promise::Deferred::New(env)) {}

  void Execute() override {
    try {
      status_ = work_();
    } catch (const std::bad_alloc&) {
      status_ = Error{ErrorCode::kNoMemory, "operation", "out of memory", {}};
    }
  }
  void OnOK() override {
    if (status_.ok()) {
      deferred_.Resolve(Env().Undefined());
    } else {
      deferred_.Reject(to_js_error(Env(), status_.error()).Value());
    }
  }

  std::function<Status()> work_;
  Status status_ = ok();
  Napi::Promise::Deferred deferred_;
  std::vector<Napi::ObjectReference> kept_;
};

}  // namespace seekable::binding
