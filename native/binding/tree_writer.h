// JavaScript's handle on a sys::TreeWriter.
#pragma once

#include <napi.h>

#include <memory>

#include "sys/tree_writer.h"

namespace seekable::binding {

class TreeWriterHandle final : public Napi::ObjectWrap<TreeWriterHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new TreeWriter({fd, name}, {replace, owners}): the descriptor stays the caller's.
  explicit TreeWriterHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value finish_folders(const Napi::CallbackInfo& info);
  Napi::Value abandon(const Napi::CallbackInfo& info);
  Napi::Value remove_made(const Napi::CallbackInfo& info);
  Napi::Value remove_all(const Napi::CallbackInfo& info);

  // Shared with the call under way.
  std::shared_ptr<sys::TreeWriter> writer_;
};

}  // namespace seekable::binding
