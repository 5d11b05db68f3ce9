// A frame that is too large for memory, decoded from one file to another.
#pragma once

#include <string>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"

namespace seekable::layer {

// What a frame has to decode to.
struct LargeChunk {
  uint64_t length = 0;
  uint64_t zeros = 0;  // behind it, which `target` has already: they count in the digest
};

// Writes what the zstd frame `frame` decodes to, exactly `chunk.length` bytes, to `target` from `offset` on,
// and returns its SHA-256; kCorrupt when it decodes to fewer or more, or needs a window of more than 128 MiB,
// and then what was written means nothing. Takes memory for the frame's window and a MiB. Its checksum is the
// caller's to compare. `name` is what errors call it.
Result<hash::Sha256Digest> inflate_frame(const ByteSource& frame, const LargeChunk& chunk, const File& target,
                                         uint64_t offset, const std::string& name, Job& job);

}  // namespace seekable::layer
