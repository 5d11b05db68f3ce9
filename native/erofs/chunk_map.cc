#include "erofs/chunk_map.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "erofs/format.h"

namespace seekable::erofs {

namespace {

// A table is metadata, which mounting fetches before anything else.
constexpr uint64_t kMaxChunks = (1 << 20) / kChunkEntrySize;
// Larger chunks save nothing that matters, and other readers may hold their size in 32 bits.
constexpr unsigned kMaxChunkBits = 30;

bool covers_all(std::span<const Extent> extents, uint64_t size) {
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    if (extent.file_offset != end) return false;
    end += extent.length;
  }
  return end == size;
}

// Calls emit(first, count) for each run of chunks of 2^bits bytes that extents touch.
template <typename Emit>
void for_each_run(std::span<const Extent> extents, unsigned bits, const Emit& emit) {
  uint64_t first = 0;
  uint64_t end = 0;
  for (const Extent& extent : extents) {
    const uint64_t from = extent.file_offset >> bits;
    const uint64_t to = ((extent.file_offset + extent.length - 1) >> bits) + 1;
    if (from > end) {
      if (end > first) emit(first, end - first);
      first = from;
    }
    end = std::max(end, to);
  }
  if (end > first) emit(first, end - first);
}

// The map for chunks of 2^bits bytes, without its runs.
ChunkMap measure(std::span<const Extent> extents, uint64_t size, unsigned bits, unsigned block_bits) {
  ChunkMap map;
  map.block_bits = bits - block_bits;
  map.chunks = ceil_divide(size, uint64_t{1} << bits);
  for_each_run(extents, bits, [&](uint64_t first, uint64_t count) {
    map.blocks += count << map.block_bits;
    if (first + count == map.chunks) {
      map.blocks -= (map.chunks << map.block_bits) - ceil_divide(size, uint64_t{1} << block_bits);
    }
  });
  return map;
}

void add_runs(std::span<const Extent> extents, unsigned bits, ChunkMap& map) {
  uint64_t stored = 0;
  for_each_run(extents, bits, [&](uint64_t first, uint64_t count) {
    map.runs.push_back({.chunk = static_cast<uint32_t>(first),
                        .count = static_cast<uint32_t>(count),
                        .block = static_cast<uint32_t>(stored << map.block_bits)});
    stored += count;
  });
}

}  // namespace

std::optional<ChunkMap> plan_chunks(std::span<const Extent> extents, uint64_t size, uint32_t block_size) {
  if (covers_all(extents, size)) return std::nullopt;
  const unsigned block_bits = static_cast<unsigned>(std::countr_zero(block_size));
  std::optional<ChunkMap> best;
  uint64_t best_cost = ceil_divide(size, block_size) * block_size;
  for (unsigned bits = block_bits; bits <= block_bits + kMaxChunkBlockBits; ++bits) {
    const uint64_t chunks = ceil_divide(size, uint64_t{1} << bits);
    if (chunks > kMaxChunks) continue;
    const ChunkMap map = measure(extents, size, bits, block_bits);
    const uint64_t cost = map.chunks * kChunkEntrySize + map.blocks * block_size;
    if (cost < best_cost) {
      best = map;
      best_cost = cost;
    }
    if (chunks == 1 || bits >= kMaxChunkBits) break;
  }
  if (best && best->blocks <= UINT32_MAX) add_runs(extents, block_bits + best->block_bits, *best);
  return best;
}

}  // namespace seekable::erofs
