// JavaScript's handle on fuse::Server: the files of the folder, and what became of their chunks.
#pragma once

#include <napi.h>

#include <memory>

#include "fuse/server.h"

namespace seekable::binding {

class FuseServerHandle final : public Napi::ObjectWrap<FuseServerHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new FuseServer({fd, threads}, onEvent)
  explicit FuseServerHandle(const Napi::CallbackInfo& info);
  ~FuseServerHandle() override;

 private:
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value add(const Napi::CallbackInfo& info);
  Napi::Value remove(const Napi::CallbackInfo& info);
  Napi::Value add_folder(const Napi::CallbackInfo& info);
  Napi::Value link(const Napi::CallbackInfo& info);
  Napi::Value unlink(const Napi::CallbackInfo& info);
  Napi::Value stored(const Napi::CallbackInfo& info);
  Napi::Value delivered(const Napi::CallbackInfo& info);
  Napi::Value failed(const Napi::CallbackInfo& info);
  Napi::Value counts(const Napi::CallbackInfo& info);
  Napi::Value take_reads(const Napi::CallbackInfo& info);

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace seekable::binding
