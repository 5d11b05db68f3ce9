// How a tar's headers are read: in order, a little ahead, and its file data only where it is on disk. File
// data itself has another rule, and erofs/small_reads.h says why.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/buffer.h"
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
  // So far it grows, twofold each time, while headers follow each other closely: files are small there.
  static constexpr size_t kMaxReadAhead = 64 << 10;
  // Where the page isn't in the page cache: one large read is as quick as a few small ones here and there,
  // the kernel then reads ahead by itself, and what lies in between will be wanted soon.
  static constexpr size_t kReadAheadOnDisk = 1 << 20;

  Status fill(uint64_t offset);
  size_t read_ahead_at(uint64_t offset) const;
  Result<MutableBytes> read_from_disk(uint64_t offset);

  const ByteSource& source_;
  uint64_t size_;
  uint64_t buffer_offset_ = 0;
  Bytes buffered_;  // of one of these two
  size_t read_ahead_ = kReadAhead;
  std::array<uint8_t, kMaxReadAhead> pages_;
  Buffer large_;  // allocated when it is first needed
};

}  // namespace seekable::tar
