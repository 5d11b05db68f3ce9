// The hash blocks of one level of the tree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"

namespace seekable::verity {

// Bytes that are appended and read again. Of those, the last few megabytes at most are in memory; what came
// before is in an unlinked file, which is made when it is needed.
class Level {
 public:
  uint64_t size() const { return spilled_ + recent_.size(); }
  Status append(Bytes bytes, const std::string& temporary_directory);
  // REQUIRES: offset + out.size() <= size().
  Status read_at(uint64_t offset, MutableBytes out) const;

 private:
  File file_;
  uint64_t spilled_ = 0;         // bytes in file_
  std::vector<uint8_t> recent_;  // the bytes after them
};

}  // namespace seekable::verity
