// decompressZstd.
#include "zstd/prefix.h"

#include "base/buffer.h"
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"

namespace seekable::binding {

Napi::Value decompress_zstd(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  return run_async<Buffer>(
      info.Env(), std::make_shared<Job>(),
      [input = copy(info[0]), size = number_of(options, "size"),
       whole = options.Get("whole").ToBoolean().Value(),
       name = string_of(options, "name")](Job&) -> Result<Buffer> {
        Buffer out = TRY(Buffer::allocate(size));
        TRY(zstd::decode_prefix(input, out.first(size), whole, name));
        return out;
      },
      [](Napi::Env env, Buffer& out) { return to_js(env, out.first(out.size())); });
}

}  // namespace seekable::binding
