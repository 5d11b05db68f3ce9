#include "binding/source.h"

#include "base/buffer.h"
#include "binding/convert.h"
#include "binding/environment.h"
#include "binding/job.h"

namespace seekable::binding {

using Shared = std::shared_ptr<const ByteSource>;

Napi::Function SourceHandle::define(Napi::Env env) {
  return DefineClass(
      env, "Source",
      {InstanceAccessor<&SourceHandle::size>("size"), InstanceMethod("read", &SourceHandle::read),
       InstanceMethod("close", &SourceHandle::close)});
}

SourceHandle::SourceHandle(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info[0].IsExternal()) {  // from wrap()
    source_ = *info[0].As<Napi::External<Shared>>().Data();
    return;
  }
  const auto slice = info[0].As<Napi::Object>();
  File file = value_or_throw(
      info.Env(), File::duplicate(static_cast<int>(number_of(slice, "fd")), string_of(slice, "name")));
  source_ =
      std::make_shared<FileSource>(std::move(file), number_of(slice, "offset"), number_of(slice, "size"));
}

Napi::Value SourceHandle::wrap(Napi::Env env, Shared source) {
  return Environment::of(env).source.New({Napi::External<Shared>::New(env, &source)});
}

Shared SourceHandle::of(const Napi::Value& value) {
  if (!value.IsObject() ||
      !value.As<Napi::Object>().InstanceOf(Environment::of(value.Env()).source.Value())) {
    throw Napi::TypeError::New(value.Env(), "a Source was expected");
  }
  const Shared& source = Unwrap(value.As<Napi::Object>())->source_;
  if (!source) throw Napi::TypeError::New(value.Env(), "the Source was closed");
  return source;
}

Napi::Value SourceHandle::size(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), source_ ? static_cast<double>(source_->size()) : 0);
}

Napi::Value SourceHandle::read(const Napi::CallbackInfo& info) {
  const Shared source = of(info.This());
  const auto offset = static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value());
  const auto length = static_cast<uint64_t>(info[1].As<Napi::Number>().Int64Value());
  return run_async<Buffer>(
      info.Env(), std::make_shared<Job>(),
      [source, offset, length](Job&) -> Result<Buffer> {
        Buffer buffer = TRY(Buffer::allocate(length));
        TRY(source->read_at(offset, buffer.first(length)));
        return buffer;
      },
      [](Napi::Env env, Buffer& buffer) { return to_js(env, buffer.first(buffer.size())); });
}

Napi::Value SourceHandle::close(const Napi::CallbackInfo& info) {
  source_.reset();
  return info.Env().Undefined();
}

}  // namespace seekable::binding
