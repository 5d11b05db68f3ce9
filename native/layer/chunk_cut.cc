#include "layer/chunk_cut.h"

#include <algorithm>

#include "base/checked.h"

namespace seekable::layer {

namespace {

Status check_starts(uint64_t size, uint32_t chunk_size, std::span<const uint64_t> starts) {
  if (starts.front() != 0 || starts.back() != size) {
    return usage("chunks", "they do not reach from 0 to " + std::to_string(size));
  }
  for (size_t i = 1; i < starts.size(); ++i) {
    if (starts[i] > starts[i - 1] && starts[i] - starts[i - 1] <= chunk_size) continue;
    return usage("chunks", "chunk " + std::to_string(i - 1) + " from " + std::to_string(starts[i - 1]) +
                               " to " + std::to_string(starts[i]) + " is no 1 to " +
                               std::to_string(chunk_size) + " bytes");
  }
  return ok();
}

}  // namespace

Result<ChunkCut> ChunkCut::of(uint64_t size, uint32_t chunk_size, std::span<const uint64_t> starts) {
  if (chunk_size == 0) return usage("chunks", "their size must not be 0");
  if (!starts.empty()) TRY(check_starts(size, chunk_size, starts));
  return ChunkCut(size, chunk_size, starts);
}

ChunkCut::ChunkCut(uint64_t size, uint32_t chunk_size, std::span<const uint64_t> starts)
    : size_(size), chunk_size_(chunk_size), starts_(starts) {
  if (starts.empty()) {
    count_ = ceil_divide(size, chunk_size);
    largest_ = std::min<uint64_t>(chunk_size, size);
    return;
  }
  count_ = starts.size() - 1;
  for (size_t i = 0; i < count_; ++i) largest_ = std::max<size_t>(largest_, starts[i + 1] - starts[i]);
}

ChunkCut::Range ChunkCut::range(uint64_t index) const {
  if (!starts_.empty()) return {starts_[index], static_cast<size_t>(starts_[index + 1] - starts_[index])};
  const uint64_t offset = index * chunk_size_;
  return {offset, static_cast<size_t>(std::min<uint64_t>(chunk_size_, size_ - offset))};
}

}  // namespace seekable::layer
