// JavaScript's handle on tar::Reader: the entries of a tar in batches, so that a million of them take no more
// memory than the reader keeps.
#pragma once

#include <napi.h>

#include <memory>

namespace seekable::binding {

class TarReaderHandle final : public Napi::ObjectWrap<TarReaderHandle> {
 public:
  static Napi::Function define(Napi::Env env);
  // new TarReader(source)
  explicit TarReaderHandle(const Napi::CallbackInfo& info);

 private:
  // next(job): the next entries, as columns; null at the end of the tar. One call at a time.
  Napi::Value next(const Napi::CallbackInfo& info);

  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace seekable::binding
