#include "binding/arrival.h"

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/source.h"

namespace seekable::binding {

Napi::Function ArrivalHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Arrival",
      {InstanceMethod("source", &ArrivalHandle::source), InstanceMethod("arrived", &ArrivalHandle::arrived),
       InstanceMethod("stop", &ArrivalHandle::stop)});
}

ArrivalHandle::ArrivalHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const auto slice = info[0].As<Napi::Object>();
  File file = value_or_throw(
      info.Env(), File::duplicate(static_cast<int>(number_of(slice, "fd")), string_of(slice, "name")));
  file_ = std::make_shared<ArrivingFile>(std::move(file), number_of(slice, "size"));
  Environment::of(info.Env()).arrivals[this] = file_;
}

Napi::Value ArrivalHandle::source(const Napi::CallbackInfo& info) {
  if (!file_) throw Napi::TypeError::New(info.Env(), "the Arrival is over");
  return SourceHandle::wrap(info.Env(), file_);
}

Napi::Value ArrivalHandle::arrived(const Napi::CallbackInfo& info) {
  const auto size = static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value());
  if (file_) file_->arrived(size);
  return info.Env().Undefined();
}

Napi::Value ArrivalHandle::stop(const Napi::CallbackInfo& info) {
  if (file_) file_->stop();
  file_.reset();
  Environment::of(info.Env()).arrivals.erase(this);
  return info.Env().Undefined();
}

}  // namespace seekable::binding
