// Reads of a tar's file data: small files that lie behind each other are read in one call.
//
// A tar's headers have a window with a rule of their own (tar/metadata_reader.h). They are read once, in
// order, by one thread, so a window that runs ahead of them is always of use. File data is read in the order
// of the image, by many threads, and most of it in large pieces that go straight to where they are wanted:
// one rule for both would copy these once more, or read ahead into files that another thread reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/io.h"

namespace seekable::erofs {

class SmallReads {
 public:
  // The source outlives this.
  explicit SmallReads(const ByteSource& source) : source_(source), size_(source.size()) {}

  // As ByteSource::read_at(), from one thread.
  Status read(uint64_t offset, MutableBytes out);

 private:
  bool holds(uint64_t offset, size_t length) const {
    return offset >= start_ && offset - start_ <= window_.size() &&
           length <= window_.size() - (offset - start_);
  }
  Status fill(uint64_t offset);

  const ByteSource& source_;
  uint64_t size_;
  uint64_t last_end_ = UINT64_MAX;  // of the small read before
  uint64_t start_ = 0;              // of the window in the source
  std::vector<uint8_t> window_;
};

}  // namespace seekable::erofs
