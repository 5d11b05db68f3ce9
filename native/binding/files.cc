// files: what takes several system calls on files, off JavaScript's thread.
#include "sys/files.h"

#include <memory>

#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/short_work.h"

namespace seekable::binding {

namespace {

std::string text(const Napi::Value& value) { return value.As<Napi::String>().Utf8Value(); }

Napi::Value open_folder(const Napi::CallbackInfo& info) {
  std::vector<std::string> names;
  const auto given = info[1].As<Napi::Array>();
  for (uint32_t i = 0; i < given.Length(); ++i) names.push_back(text(given.Get(i)));
  return run_short<int>(
      info.Env(),
      [root = text(info[0]), names = std::move(names), make = info[2].ToBoolean().Value()] {
        return sys::open_folder(root, names, make);
      },
      [](Napi::Env env, int& descriptor) { return Napi::Number::New(env, descriptor); });
}

Napi::Value open_to_read(const Napi::CallbackInfo& info) {
  return run_short<sys::OpenedFile>(
      info.Env(),
      [path = text(info[0]), follow = info[1].ToBoolean().Value()] {
        return sys::open_to_read(path, follow);
      },
      [](Napi::Env env, sys::OpenedFile& file) -> Napi::Value {
        auto result = Napi::Object::New(env);
        result.Set("fd", file.descriptor);
        result.Set("isFile", file.is_file);
        result.Set("size", static_cast<double>(file.size));
        result.Set("before", static_cast<double>(file.before));
        return result;
      });
}

Napi::Value undefined(Napi::Env env, Unit&) { return env.Undefined(); }

Napi::Value write_file(const Napi::CallbackInfo& info) {
  return run_short<Unit>(
      info.Env(), [path = text(info[0]), bytes = copy(info[1])] { return sys::write_file(path, bytes); },
      undefined);
}

Napi::Value sync_folder(const Napi::CallbackInfo& info) {
  return run_short<Unit>(
      info.Env(), [path = text(info[0])] { return sys::sync_folder(path); }, undefined);
}

Napi::Value lock_file(const Napi::CallbackInfo& info) {
  return run_short<int>(
      info.Env(),
      [path = text(info[0]), mode = info[1].As<Napi::Number>().Uint32Value()] {
        return sys::lock_file(path, mode);
      },
      [](Napi::Env env, int& descriptor) -> Napi::Value {
        return descriptor < 0 ? env.Null() : Napi::Number::New(env, descriptor);
      });
}

Napi::Value unlock_file(const Napi::CallbackInfo& info) {
  return run_short<Unit>(
      info.Env(),
      [descriptor = info[0].As<Napi::Number>().Int32Value(), path = text(info[1])] {
        return sys::unlock_file(descriptor, path);
      },
      undefined);
}

}  // namespace

Napi::Object files(Napi::Env env) {
  auto calls = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    calls.Set(name, Napi::Function::New(env, function, name));
  };
  add("openFolder", open_folder);
  add("openToRead", open_to_read);
  add("writeFile", write_file);
  add("syncFolder", sync_folder);
  add("lockFile", lock_file);
  add("unlockFile", unlock_file);
  return calls;
}

}  // namespace seekable::binding
