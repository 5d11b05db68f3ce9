// Core work on a thread of its own → a Promise.
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/job.h"
#include "binding/convert.h"

namespace seekable::binding {

// JavaScript's handle on a running operation: cancel() and progress().
class JobHandle final : public Napi::ObjectWrap<JobHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit JobHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {}
  static std::shared_ptr<Job> of(const Napi::Value& value);

 private:
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value progress(const Napi::CallbackInfo& info);

  std::shared_ptr<Job> job_ = std::make_shared<Job>();
};

// A promise whose work runs on its own thread. Owned by the Environment while it runs.
class Task {
 public:
  Task(Napi::Env env, std::shared_ptr<Job> job)
      : job_(std::move(job)), deferred_(Napi::Promise::Deferred::New(env)) {}
  virtual ~Task() = default;

  static Napi::Promise start(Napi::Env env, std::unique_ptr<Task> task);
  void cancel() { job_->cancel(); }
  void join();

 protected:
  virtual void perform() = 0;              // on the thread
  virtual void settle(Napi::Env env) = 0;  // the promise, on JavaScript's thread

  std::shared_ptr<Job> job_;
  Napi::Promise::Deferred deferred_;

 private:
  static void finish(Napi::Env env, Napi::Function, Task*, Task* task);

  std::thread thread_;
};

// Starts `work`; the promise resolves with convert(value) or rejects with the error. What either captures
// must not be tied to a JavaScript thread, but for `convert`, which runs there.
template <typename T>
Napi::Value run_async(Napi::Env env, std::shared_ptr<Job> job, std::function<Result<T>(Job&)> work,
                      std::function<Napi::Value(Napi::Env, T&)> convert) {
  class WorkTask final : public Task {
   public:
    WorkTask(Napi::Env env, std::shared_ptr<Job> job, std::function<Result<T>(Job&)> work,
             std::function<Napi::Value(Napi::Env, T&)> convert)
        : Task(env, std::move(job)), work_(std::move(work)), convert_(std::move(convert)) {}

   private:
    void perform() override {
      try {
        result_.emplace(work_(*job_));
      } catch (const std::bad_alloc&) {
        result_.emplace(Error{ErrorCode::kNoMemory, "operation", "out of memory", "use fewer threads"});
      }
      work_ = nullptr;  // releases files at once
    }
    void settle(Napi::Env env) override {
      if (result_->ok()) {
        deferred_.Resolve(convert_(env, result_->value()));
      } else {
        deferred_.Reject(to_js_error(env, result_->error()).Value());
      }
    }

    std::function<Result<T>(Job&)> work_;
    std::function<Napi::Value(Napi::Env, T&)> convert_;
    std::optional<Result<T>> result_;
  };
  return Task::start(env,
                     std::make_unique<WorkTask>(env, std::move(job), std::move(work), std::move(convert)));
}

}  // namespace seekable::binding
