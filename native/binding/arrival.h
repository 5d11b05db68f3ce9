// JavaScript's handle on an ArrivingFile: a file that it fills while native code reads it.
#pragma once

#include <napi.h>

#include <memory>

#include "base/arriving_file.h"

namespace seekable::binding {

class ArrivalHandle final : public Napi::ObjectWrap<ArrivalHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Arrival({fd, size, name}): the descriptor stays the caller's, and may be closed at once.
  explicit ArrivalHandle(const Napi::CallbackInfo& info);

 private:
  Napi::Value source(const Napi::CallbackInfo& info);
  Napi::Value arrived(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);

  std::shared_ptr<ArrivingFile> file_;  // null once it is over
};

}  // namespace seekable::binding
