// Compressed input, read in order: gzip (RFC 1952) and zstd (RFC 8878), told apart by content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"

namespace seekable::inflate {

enum class Compression : uint8_t { kNone, kGzip, kZstd };

// By the magic number; four bytes are enough, fewer are kNone. A zstd stream may start with a skippable
// frame.
Compression detect(Bytes first_bytes);

// Decompressed bytes of a gzip or zstd source, in order.
class Inflater {
 public:
  // Gets every byte of the source exactly once and in order, by the time that next() has returned nothing:
  // what follows the compressed data as well.
  using OnInput = std::function<void(Bytes compressed)>;

  // The source outlives the inflater. `compression` isn't kNone (kUsage).
  static Result<std::unique_ptr<Inflater>> open(const ByteSource& source, Compression compression,
                                                OnInput on_input = {});
  virtual ~Inflater() = default;

  // The next piece of content, valid until the next call; empty at the end.
  // kCorrupt for data that is damaged, cut short, or followed by anything but more of it (gzip: or zero
  // bytes). kUnsupported for zstd frames that need over 128 MiB of window, or a dictionary. No call follows
  // an error.
  virtual Result<Bytes> next() = 0;
};

}  // namespace seekable::inflate
