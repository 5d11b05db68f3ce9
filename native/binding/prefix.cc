// decompressZstd.
#include "zstd/prefix.h"

#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/short_work.h"

namespace seekable::binding {

Napi::Value decompress_zstd(const Napi::CallbackInfo& info) {
  const auto options = info[2].As<Napi::Object>();
  const bool whole = options.Get("whole").ToBoolean().Value();
  return ShortWork::start(
      info.Env(), {info[0], info[1]},
      [input = view(info[0]), out = writable_view(info[1]), whole, name = string_of(options, "name")] {
        return zstd::decode_prefix(input, out, whole, name);
      });
}

}  // namespace seekable::binding
