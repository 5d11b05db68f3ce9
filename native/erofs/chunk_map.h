// Files that do not lie in one piece: equal chunks, each stored or absent, and a table that says where. Files
// with holes are so, and files whose hot part lies elsewhere (hot.h).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "erofs/tree.h"

namespace seekable::erofs {

// Consecutive chunks of a file that are stored one after the other.
struct ChunkRun {
  uint32_t chunk;  // first, counted in the file
  uint32_t count;
  uint32_t block;      // of the first chunk, from the file's first block on, or from that of a device
  bool is_hot = true;  // of a hot file: it belongs to the hot part
};

struct ChunkMap {
  unsigned block_bits = 0;  // a chunk holds 2^block_bits blocks
  uint64_t chunks = 0;      // stored or absent: entries of the table
  uint64_t blocks = 0;      // stored; the last chunk of a file has only the blocks that it needs
  std::vector<ChunkRun> runs;
};

// The map of a file that takes the fewest bytes, table and data together: small chunks keep more of the
// holes, large ones keep the table small, which is at most 1 MiB. Nothing if the file takes no more when it
// is stored whole, as files without holes do. A map that exceeds the 32 bits of a block address has no runs;
// the caller refuses it.
std::optional<ChunkMap> plan_chunks(std::span<const Extent> extents, uint64_t size, uint32_t block_size);

}  // namespace seekable::erofs
