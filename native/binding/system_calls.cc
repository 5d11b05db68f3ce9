// sys: the bare system calls. All of them block.
#include "binding/convert.h"
#include "binding/exports.h"
#include "sys/linux.h"

namespace seekable::binding {

namespace {

std::string text(const Napi::Value& value) {
  return value.IsNull() ? std::string() : value.As<Napi::String>().Utf8Value();
}

int descriptor_of(const Napi::CallbackInfo& info) { return info[0].As<Napi::Number>().Int32Value(); }

uint64_t whole(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

Napi::Value ioctl(const Napi::CallbackInfo& info) {
  const int descriptor = descriptor_of(info);
  const uint64_t request = whole(info[1]);
  if (info[2].IsNumber()) {
    const int result = value_or_throw(info.Env(), sys::ioctl(descriptor, request, whole(info[2])));
    return Napi::Number::New(info.Env(), result);
  }
  return Napi::Number::New(info.Env(),
                           value_or_throw(info.Env(), sys::ioctl(descriptor, request, view(info[2]))));
}

Napi::Value link_open_file(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), sys::link_open_file(descriptor_of(info), text(info[1])));
  return info.Env().Undefined();
}

Napi::Value mount(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  value_or_throw(info.Env(), sys::mount({.source = string_of(options, "source"),
                                         .target = string_of(options, "target"),
                                         .type = string_of(options, "type"),
                                         .flags = number_of(options, "flags"),
                                         .data = string_of(options, "data")}));
  return info.Env().Undefined();
}

Napi::Value unmount(const Napi::CallbackInfo& info) {
  const int flags = info[1].As<Napi::Number>().Int32Value();
  value_or_throw(info.Env(), sys::unmount(text(info[0]), flags));
  return info.Env().Undefined();
}

Napi::Value open_entry(const Napi::CallbackInfo& info) {
  const int flags = info[2].As<Napi::Number>().Int32Value();
  const Result<int> opened = sys::open_entry(descriptor_of(info), text(info[1]), flags);
  return Napi::Number::New(info.Env(), value_or_throw(info.Env(), opened));
}

Napi::Value make_folder(const Napi::CallbackInfo& info) {
  const unsigned mode = info[2].As<Napi::Number>().Uint32Value();
  value_or_throw(info.Env(), sys::make_folder(descriptor_of(info), text(info[1]), mode));
  return info.Env().Undefined();
}

Napi::Value remove_folder(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), sys::remove_folder(descriptor_of(info), text(info[1])));
  return info.Env().Undefined();
}

Napi::Value rename_entry(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), sys::rename_entry(descriptor_of(info), text(info[1]), text(info[2])));
  return info.Env().Undefined();
}

Napi::Value take_descriptor(const Napi::CallbackInfo& info) {
  const int descriptor = info[1].As<Napi::Number>().Int32Value();
  const Result<int> taken = sys::take_descriptor(info[0].As<Napi::Number>().Int32Value(), descriptor);
  return Napi::Number::New(info.Env(), value_or_throw(info.Env(), taken));
}

Napi::Value fsopen(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), value_or_throw(info.Env(), sys::fsopen(text(info[0]))));
}

Napi::Value fsconfig(const Napi::CallbackInfo& info) {
  const unsigned command = info[1].As<Napi::Number>().Uint32Value();
  const std::string key = text(info[2]);
  const std::string value = text(info[3]);
  value_or_throw(info.Env(),
                 sys::fsconfig(descriptor_of(info), {.command = command,
                                                     .key = info[2].IsNull() ? nullptr : key.c_str(),
                                                     .value = info[3].IsNull() ? nullptr : value.c_str()}));
  return info.Env().Undefined();
}

Napi::Value fsmount(const Napi::CallbackInfo& info) {
  const unsigned attributes = info[1].As<Napi::Number>().Uint32Value();
  return Napi::Number::New(info.Env(),
                           value_or_throw(info.Env(), sys::fsmount(descriptor_of(info), attributes)));
}

Napi::Value send_datagram(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), sys::send_datagram(text(info[0]), text(info[1])));
  return info.Env().Undefined();
}

Napi::Value move_mount(const Napi::CallbackInfo& info) {
  value_or_throw(info.Env(), sys::move_mount(descriptor_of(info), text(info[1])));
  return info.Env().Undefined();
}

}  // namespace

Napi::Object system_calls(Napi::Env env) {
  auto calls = Napi::Object::New(env);
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    calls.Set(name, Napi::Function::New(env, function, name));
  };
  add("ioctl", ioctl);
  add("linkOpenFile", link_open_file);
  add("mount", mount);
  add("unmount", unmount);
  add("openEntry", open_entry);
  add("makeFolder", make_folder);
  add("removeFolder", remove_folder);
  add("renameEntry", rename_entry);
  add("takeDescriptor", take_descriptor);
  add("sendDatagram", send_datagram);
  add("fsopen", fsopen);
  add("fsconfig", fsconfig);
  add("fsmount", fsmount);
  add("moveMount", move_mount);
  return calls;
}

}  // namespace seekable::binding
