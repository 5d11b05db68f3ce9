// The hot part of an image: file data that a program is known to read, in the order of its first use, right
// behind the metadata. Where the list comes from: docs/trace.md.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "erofs/chunk_map.h"
#include "erofs/tree.h"

namespace seekable::erofs {

// `length` bytes of a file from `offset` on.
struct HotRange {
  uint64_t offset;
  uint64_t length;
};

// A file that is read, and what of it. No ranges: all of it.
struct HotFile {
  std::string path;  // from the root: "usr/bin/node"; bytes as in the tar
  std::vector<HotRange> ranges;
};

// The inode that a path names without following symlinks, if there is one.
std::optional<InodeId> find_path(const Tree& tree, std::string_view path);

// How a file is parted that is hot in part: its chunks in runs that are hot or not, by rising chunk, without
// blocks as yet. Nothing if it goes to the hot part as a whole: it is small, or most of it is read anyway.
std::optional<ChunkMap> plan_parts(std::span<const HotRange> ranges, uint64_t size, uint32_t block_size);

}  // namespace seekable::erofs
