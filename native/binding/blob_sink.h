// JavaScript's handle on layer::BlobSink.
#pragma once

#include <napi.h>

#include <memory>

#include "layer/blob_sink.h"

namespace seekable::binding {

class BlobSinkHandle final : public Napi::ObjectWrap<BlobSinkHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new BlobSink(fd, name, isTemporary): the descriptor stays the caller's.
  explicit BlobSinkHandle(const Napi::CallbackInfo& info);
  // Throws after finish().
  static std::shared_ptr<layer::BlobSink> of(const Napi::Value& value);

 private:
  Napi::Value append(const Napi::CallbackInfo& info);
  Napi::Value append_source(const Napi::CallbackInfo& info);
  Napi::Value written(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<layer::BlobSink> sink_;
};

}  // namespace seekable::binding
