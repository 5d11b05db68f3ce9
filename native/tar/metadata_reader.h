// How a tar's headers are read: in order, a little ahead, never its file data.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"

namespace seekable::tar {

class MetadataReader {
 public:
  // The source outlives the reader.
  explicit MetadataReader(const ByteSource& source) : source_(source), size_(source.size()) {}

  // Length of the source in bytes.
  uint64_t size() const { return size_; }
  // True if the source holds `length` bytes from `offset` on.
  bool holds(uint64_t offset, uint64_t length) const { return offset <= size_ && length <= size_ - offset; }

  // `length` bytes at `offset`; the view is valid until the next call.
  // REQUIRES: length <= kReadAhead, holds(offset, length). Errors are the source's own.
  Result<Bytes> view(uint64_t offset, size_t length);
  // The same as a copy, of any length. REQUIRES: holds(offset, length).
  Result<std::string> copy(uint64_t offset, size_t length);

  // One page. That is a PAX header, its records and the entry's own header in one system call, and the data
  // of a small file passed over for free; before a big file it costs less than a second call would.
  static constexpr size_t kReadAhead = 4096;

 private:
  const ByteSource& source_;
  uint64_t size_;
  uint64_t buffer_offset_ = 0;
  size_t buffer_length_ = 0;
  std::array<uint8_t, kReadAhead> buffer_;
};

}  // namespace seekable::tar
