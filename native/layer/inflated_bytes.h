// What a compressed layer inflates to, while it is written and afterwards.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/io.h"

namespace seekable::layer {

// Bytes that are appended, and then read: those of a small layer stay in memory, others are in a file without
// a name.
class InflatedBytes {
 public:
  // So much stays in memory.
  static constexpr size_t kMostInMemory = size_t{8} << 20;

  // `compressed_size`: of the layer. A large one never begins in memory.
  InflatedBytes(uint64_t compressed_size, std::string temporary_directory);

  Status append(Bytes bytes);
  // All of them. REQUIRES: called once; no append() after it.
  std::shared_ptr<const ByteSource> finish();

 private:
  Status remember(Bytes bytes);
  Status spill();
  Status write(Bytes bytes);

  std::string temporary_directory_;
  bool is_in_memory_;
  std::vector<Buffer> blocks_;
  File file_;
  uint64_t size_ = 0;
  uint64_t unchecked_;  // bytes written since the disk was looked at
};

}  // namespace seekable::layer
