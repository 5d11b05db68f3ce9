// A plan as bytes: any range of the metadata, without deciding anything.
#pragma once

#include <array>
#include <optional>

#include "base/io.h"
#include "erofs/plan.h"

namespace seekable::erofs {

using Uuid = std::array<uint8_t, 16>;

// What an image consists of. All of it is only read, by any number of threads.
struct ImageContent {
  const Plan& plan;
  const ByteSource& data;  // what the extents of the tree point into: tails of files lie behind inodes
};

// Fills `out` with the bytes of the image from `offset` on. Without a UUID, that and the checksum over it are
// zero. REQUIRES: the range lies within the metadata. Fails only if reading `content.data` does.
Status write_metadata(const ImageContent& content, const std::optional<Uuid>& uuid, uint64_t offset,
                      MutableBytes out);

}  // namespace seekable::erofs
