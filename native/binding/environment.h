// What the addon keeps for each JavaScript environment (the main thread's, each worker's).
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>

#include "base/arriving_file.h"

namespace seekable::binding {

class Task;

struct Environment {
  std::unordered_map<Task*, std::unique_ptr<Task>> tasks;  // running, with their threads
  // By their handles: reads of theirs may wait for what only JavaScript can bring.
  std::unordered_map<const void*, std::weak_ptr<ArrivingFile>> arrivals;
  Napi::FunctionReference source;  // the classes of module.cc that C++ makes or checks
  Napi::FunctionReference job;
  Napi::FunctionReference blob_sink;

  ~Environment();
  static void install(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }
};

}  // namespace seekable::binding
