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

// Starts `work`; the promise resolves with convert(value) or rejects with the error. What either captures
// must not be tied to a JavaScript thread, but for `convert`, which runs there.
template <typename T>
Napi::Promise run_short(Napi::Env env, std::function<Result<T>()> work,
                        std::function<Napi::Value(Napi::Env, T&)> convert) {
  class ShortWork final : public Napi::AsyncWorker {
   public:
    ShortWork(Napi::Env env, std::function<Result<T>()> work,
              std::function<Napi::Value(Napi::Env, T&)> convert)
        : AsyncWorker(env),
          work_(std::move(work)),
          convert_(std::move(convert)),
          deferred_(Napi::Promise::Deferred::New(env)) {}
    Napi::Promise promise() const { return deferred_.Promise(); }

   private:
    void Execute() override {
      try {
        result_.emplace(work_());
      } catch (const std::bad_alloc&) {
        result_.emplace(Error{ErrorCode::kNoMemory, "operation", "out of memory", {}});
      }
    }
    void OnOK() override {
      if (result_->ok()) {
        deferred_.Resolve(convert_(Env(), result_->value()));
      } else {
        deferred_.Reject(to_js_error(Env(), result_->error()).Value());
      }
    }

    std::function<Result<T>()> work_;
    std::function<Napi::Value(Napi::Env, T&)> convert_;
    std::optional<Result<T>> result_;
    Napi::Promise::Deferred deferred_;
  };
  auto* worker = new ShortWork(env, std::move(work), std::move(convert));  // deletes itself
  worker->Queue();
  return worker->promise();
}

// The promise resolves with the bytes, which `work` lets go of without a copy.
inline Napi::Promise run_short(Napi::Env env, std::function<Result<Buffer>()> work) {
  return run_short<Buffer>(env, std::move(work), [](Napi::Env to, Buffer& bytes) -> Napi::Value {
    return to_js(to, std::move(bytes));
  });
}

}  // namespace seekable::binding
