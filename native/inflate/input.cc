#include "inflate/input.h"

#include <utility>

#include "inflate/gzip_inflater.h"
#include "inflate/zstd_inflater.h"

namespace seekable::inflate {

Compression detect(Bytes first_bytes) {
  if (first_bytes.size() < 4) return Compression::kNone;
  const auto magic = load_le<uint32_t>(first_bytes.data());
  if ((magic & 0xffffff) == 0x088b1f) return Compression::kGzip;  // 08 is deflate, the only method there is
  if (magic == 0xfd2fb528 || (magic & 0xfffffff0) == 0x184d2a50) return Compression::kZstd;
  return Compression::kNone;
}

Result<std::unique_ptr<Inflater>> Inflater::open(const ByteSource& source, Compression compression,
                                                 OnInput on_input) {
  switch (compression) {
    case Compression::kNone: break;
    case Compression::kGzip: return open_gzip(source, std::move(on_input));
    case Compression::kZstd: return open_zstd(source, std::move(on_input));
  }
  return usage("compressed input", "the source isn't compressed");
}

}  // namespace seekable::inflate
