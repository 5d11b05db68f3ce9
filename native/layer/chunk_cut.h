// How data is cut into chunks: into equal ones, or where a list says.
#pragma once

#include <cstdint>
#include <span>

#include "base/error.h"

namespace seekable::layer {

class ChunkCut {
 public:
  struct Range {
    uint64_t offset;
    size_t length;
  };

  // `starts`: where each chunk begins, and `size` behind the last; empty: every `chunk_size` bytes. kUsage
  // unless they begin at 0, rise strictly, end at `size`, and no chunk is longer than `chunk_size`. A view:
  // the list must live as long.
  static Result<ChunkCut> of(uint64_t size, uint32_t chunk_size, std::span<const uint64_t> starts);

  uint64_t count() const { return count_; }
  size_t largest() const { return largest_; }
  // REQUIRES: index < count().
  Range range(uint64_t index) const;

 private:
  ChunkCut(uint64_t size, uint32_t chunk_size, std::span<const uint64_t> starts);

  uint64_t size_;
  uint32_t chunk_size_;
  std::span<const uint64_t> starts_;
  uint64_t count_ = 0;
  size_t largest_ = 0;
};

}  // namespace seekable::layer
