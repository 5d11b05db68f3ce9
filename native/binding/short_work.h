// Short core work (well below a second) on one of Node's own threads → a Promise. Starting a thread would
// cost more than decoding a small frame.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "base/buffer.h"
#include "base/error.h"
#include "binding/convert.h"

namespace seekable::binding {

class ShortWork final : public Napi::AsyncWorker {
 public:
  // The promise resolves with the bytes, which `work` lets go of without a copy, or rejects with the error.
  static Napi::Promise start(Napi::Env env, std::function<Result<Buffer>()> work) {
    auto* worker = new ShortWork(env, std::move(work));  // deletes itself
    worker->Queue();
    return worker->deferred_.Promise();
  }

 private:
  ShortWork(Napi::Env env, std::function<Result<Buffer>()> work)
      : AsyncWorker(env), work_(std::move(work)), deferred_(Napi::Promise::Deferred::New(env)) {}

  void Execute() override {
    try {
      result_.emplace(work_());
    } catch (const std::bad_alloc&) {
      result_.emplace(Error{ErrorCode::kNoMemory, "operation", "out of memory", {}});
    }
  }
  void OnOK() override {
    if (result_->ok()) {
      deferred_.Resolve(to_js(Env(), std::move(result_->value())));
    } else {
      deferred_.Reject(to_js_error(Env(), result_->error()).Value());
    }
  }

  std::function<Result<Buffer>()> work_;
  std::optional<Result<Buffer>> result_;
  Napi::Promise::Deferred deferred_;
};

}  // namespace seekable::binding
