#include "binding/job.h"

#include "binding/environment.h"

namespace seekable::binding {

Napi::Function JobHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Job",
      {InstanceMethod("cancel", &JobHandle::cancel), InstanceMethod("progress", &JobHandle::progress)});
}

std::shared_ptr<Job> JobHandle::of(const Napi::Value& value) {
  if (!value.IsObject() || !value.As<Napi::Object>().InstanceOf(Environment::of(value.Env()).job.Value())) {
    throw Napi::TypeError::New(value.Env(), "a Job was expected");
  }
  return Unwrap(value.As<Napi::Object>())->job_;
}

Napi::Value JobHandle::cancel(const Napi::CallbackInfo& info) {
  job_->cancel();
  return info.Env().Undefined();
}

Napi::Value JobHandle::progress(const Napi::CallbackInfo& info) {
  auto progress = Napi::Object::New(info.Env());
  progress.Set("phase", job_->phase());
  progress.Set("done", static_cast<double>(job_->done()));
  progress.Set("total", static_cast<double>(job_->total()));
  return progress;
}

Environment::~Environment() = default;

// Tasks are cancelled and joined in a cleanup hook: later finalizers run while a thread-safe function's mutex
// is held that a task's thread may wait for.
void Environment::install(Napi::Env env) {
  auto* environment = new Environment;
  env.SetInstanceData(environment);
  env.AddCleanupHook(
      [](Environment* ending) {
        for (auto& [task, owner] : ending->tasks) task->cancel();
        for (auto& [handle, arrival] : ending->arrivals)
          if (const auto file = arrival.lock()) file->stop();
        for (auto& [task, owner] : ending->tasks) task->join();
      },
      environment);
}

void Task::join() {
  if (thread_.joinable()) thread_.join();
}

void Task::finish(Napi::Env env, Napi::Function, Task*, Task* task) {
  if (env == nullptr) return;  // the environment is going: its cleanup hook has joined the thread
  task->join();
  task->settle(env);
  Environment::of(env).tasks.erase(task);
}

Napi::Promise Task::start(Napi::Env env, std::unique_ptr<Task> owned) {
  using Settle = Napi::TypedThreadSafeFunction<Task, Task, finish>;
  Settle function = Settle::New(env, "seekable-erofs", 0, 1);
  Task* task = owned.get();
  Environment::of(env).tasks.emplace(task, std::move(owned));
  const Napi::Promise promise = task->deferred_.Promise();
  task->thread_ = std::thread([task, function]() mutable {
    task->perform();
    // Once the function is closing it must not be touched again, not even released.
    if (function.NonBlockingCall(task) == napi_ok) function.Release();
  });
  return promise;
}

}  // namespace seekable::binding
