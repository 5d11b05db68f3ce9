// One chunk ↔ one zstd frame that carries its content size and checksum (docs/format/containerd-profile.md).
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/job.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace seekable::zstd {

// Room that a frame of `chunk_size` bytes may need.
size_t frame_bound(size_t chunk_size);

// Compresses chunks; one per thread. Equal chunks give equal frames, whatever came before.
class FrameEncoder {
 public:
  // `level` 1..22. Chunks are at most `chunk_size` bytes: the window spans a whole chunk.
  static Result<FrameEncoder> create(int level, size_t chunk_size);
  // Length of the frame written to `out`; kCancelled soon after `job` is. REQUIRES: out.size() >=
  // frame_bound(chunk.size()).
  Result<size_t> encode(Bytes chunk, MutableBytes out, const Job& job);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  size_t step_ = 0;  // bytes that are compressed between two looks at the job
};

// Decompresses frames; one per thread.
class FrameDecoder {
 public:
  static Result<FrameDecoder> create();
  // `frame` must be exactly one frame that decodes to exactly out.size() bytes, else kCorrupt; `name` is what
  // the error calls it. Memory does not depend on what the frame declares.
  Status decode(Bytes frame, MutableBytes out, const std::string& name);

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
};

// The library's version, e.g. "1.5.7".
const char* library_version();

}  // namespace seekable::zstd
