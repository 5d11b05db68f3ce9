// JavaScript's handle on a ByteSource: a part of a file, a planned image, a Merkle tree.
#pragma once

#include <napi.h>

#include <memory>

#include "base/io.h"

namespace seekable::binding {

class SourceHandle final : public Napi::ObjectWrap<SourceHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Source({fd, offset, size, name}): the descriptor stays the caller's, and may be closed at once.
  explicit SourceHandle(const Napi::CallbackInfo& info);

  static Napi::Value wrap(Napi::Env env, std::shared_ptr<const ByteSource> source);
  // Throws once the handle was closed.
  static std::shared_ptr<const ByteSource> of(const Napi::Value& value);

 private:
  Napi::Value size(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<const ByteSource> source_;
};

}  // namespace seekable::binding
