// decompressZstd.
#include "zstd/prefix.h"

#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/short_work.h"

namespace seekable::binding {

Napi::Value decompress_zstd(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  const bool whole = options.Get("whole").ToBoolean().Value();
  const uint64_t length = number_of(options, "length");
  return run_short(
      info.Env(),
      [length, whole, name = string_of(options, "name"), input = copy(info[0])]() -> Result<Buffer> {
        Buffer out = TRY(Buffer::allocate_to_give(length));
        TRY(zstd::decode_prefix(input, out.first(length), whole, name));
        return out;
      });
}

}  // namespace seekable::binding
