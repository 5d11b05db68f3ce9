// Bytes of unknown number, of which only so many are to be in memory.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"

namespace seekable {

// Bytes that are appended and read again. The last ones are in memory; what came before is in an unlinked
// file, which is made when it is needed.
class Spill {
 public:
  explicit Spill(size_t most_in_memory) : most_in_memory_(most_in_memory) {}

  uint64_t size() const { return spilled_ + recent_.size(); }
  Status append(Bytes bytes, const std::string& temporary_directory);
  // REQUIRES: offset + out.size() <= size().
  Status read_at(uint64_t offset, MutableBytes out) const;

 private:
  size_t most_in_memory_;
  File file_;
  uint64_t spilled_ = 0;         // bytes in file_
  std::vector<uint8_t> recent_;  // the bytes after them
};

}  // namespace seekable
