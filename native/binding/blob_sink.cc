#include "binding/blob_sink.h"

#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/job.h"
#include "binding/source.h"

namespace seekable::binding {

Napi::Function BlobSinkHandle::define(Napi::Env env) {
  return DefineClass(
      env, "BlobSink",
      {InstanceMethod("append", &BlobSinkHandle::append),
       InstanceMethod("appendSource", &BlobSinkHandle::append_source),
       InstanceAccessor<&BlobSinkHandle::written>("written"),
       InstanceMethod("finish", &BlobSinkHandle::finish), InstanceMethod("close", &BlobSinkHandle::close)});
}

BlobSinkHandle::BlobSinkHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  const int descriptor = info[0].As<Napi::Number>().Int32Value();
  const std::string name = info[1].As<Napi::String>().Utf8Value();
  sink_ = std::make_shared<layer::BlobSink>(value_or_throw(info.Env(), File::duplicate(descriptor, name)),
                                            info[2].ToBoolean().Value());
}

std::shared_ptr<layer::BlobSink> BlobSinkHandle::of(const Napi::Value& value) {
  if (!value.IsObject() ||
      !value.As<Napi::Object>().InstanceOf(Environment::of(value.Env()).blob_sink.Value())) {
    throw Napi::TypeError::New(value.Env(), "a BlobSink was expected");
  }
  const auto& sink = Unwrap(value.As<Napi::Object>())->sink_;
  if (!sink) throw Napi::TypeError::New(value.Env(), "the BlobSink was finished");
  return sink;
}

Napi::Value BlobSinkHandle::append(const Napi::CallbackInfo& info) {
  // A copy, so that what is hashed is what is written, though the memory be shared with other threads.
  const std::vector<uint8_t> bytes = copy(info[0]);
  value_or_throw(info.Env(), of(info.This())->write(bytes));
  return info.Env().Undefined();
}

Napi::Value BlobSinkHandle::append_source(const Napi::CallbackInfo& info) {
  return run_async<Unit>(
      info.Env(), JobHandle::of(info[1]),
      [sink = of(info.This()), source = SourceHandle::of(info[0])](Job& job) {
        return sink->write_all(*source, job);
      },
      [](Napi::Env env, Unit&) { return env.Undefined(); });
}

Napi::Value BlobSinkHandle::written(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), sink_ ? static_cast<double>(sink_->written()) : 0);
}

Napi::Value BlobSinkHandle::finish(const Napi::CallbackInfo& info) {
  const auto sink = of(info.This());
  sink_.reset();
  auto result = Napi::Object::New(info.Env());
  result.Set("digest", to_js(info.Env(), sink->finish()));
  result.Set("size", static_cast<double>(sink->size()));
  return result;
}

Napi::Value BlobSinkHandle::close(const Napi::CallbackInfo& info) {
  sink_.reset();
  return info.Env().Undefined();
}

}  // namespace seekable::binding
