#include "erofs/hot.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "erofs/format.h"

namespace seekable::erofs {

namespace {

// Smaller parts would cost more entries in the chunk table, which is metadata, than they save.
constexpr uint64_t kMinPart = 16 << 10;
// Of a table, 64 KiB. Larger files have larger parts.
constexpr uint64_t kMaxParts = (64 << 10) / kChunkEntrySize;
// Smaller files stay in one piece.
constexpr uint64_t kMinPartedFile = 128 << 10;
// A file of which more is read stays in one piece: in quarters.
constexpr uint64_t kQuartersThatAreAll = 3;

unsigned part_bits(uint64_t size, uint32_t block_size) {
  unsigned bits = static_cast<unsigned>(std::countr_zero(std::max<uint64_t>(kMinPart, block_size)));
  while (ceil_divide(size, uint64_t{1} << bits) > kMaxParts) ++bits;
  return bits;
}

// The chunks of 2^bits bytes that ranges touch, each once, by rising number.
std::vector<bool> touched(std::span<const HotRange> ranges, uint64_t size, unsigned bits) {
  std::vector<bool> parts(ceil_divide(size, uint64_t{1} << bits));
  for (const HotRange& range : ranges) {
    if (range.length == 0 || range.offset >= size) continue;
    const uint64_t end = range.offset + std::min(range.length, size - range.offset);
    for (uint64_t part = range.offset >> bits; part <= (end - 1) >> bits; ++part) parts[part] = true;
  }
  return parts;
}

}  // namespace

std::optional<InodeId> find_path(const Tree& tree, std::string_view path) {
  InodeId id = Tree::kRoot;
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view name = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (name.empty()) continue;
    if ((tree.inodes[id].mode & S_IFMT) != S_IFDIR) return std::nullopt;
    const auto child = tree.child(id, name);
    if (!child) return std::nullopt;
    id = *child;
  }
  return id;
}

std::optional<ChunkMap> plan_parts(std::span<const HotRange> ranges, uint64_t size, uint32_t block_size) {
  if (ranges.empty() || size < kMinPartedFile) return std::nullopt;
  const unsigned bits = part_bits(size, block_size);
  const std::vector<bool> parts = touched(ranges, size, bits);
  const auto hot = static_cast<uint64_t>(std::ranges::count(parts, true));
  if (hot == 0 || hot * 4 > parts.size() * kQuartersThatAreAll) return std::nullopt;
  ChunkMap map;
  map.block_bits = bits - static_cast<unsigned>(std::countr_zero(block_size));
  map.chunks = parts.size();
  map.blocks = ceil_divide(size, block_size);
  for (uint32_t part = 0; part < parts.size(); ++part) {
    if (part == 0 || parts[part] != parts[part - 1]) {
      map.runs.push_back({.chunk = part, .count = 0, .block = 0, .is_hot = parts[part]});
    }
    ++map.runs.back().count;
  }
  return map;
}

}  // namespace seekable::erofs
