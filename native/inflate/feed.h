// The compressed side of an inflater: a source read in blocks, each shown to whoever hashes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inflate/input.h"

namespace seekable::inflate {

class Feed {
 public:
  Feed(const ByteSource& source, Inflater::OnInput on_input)
      : source_(source), size_(source.size()), on_input_(std::move(on_input)), buffer_(kBlock) {}

  // Bytes not yet consumed; reads the next block when there are none, so empty means the end of the source.
  Result<Bytes> peek();
  // REQUIRES: count <= what peek() returned.
  void consume(size_t count) { unread_ = unread_.subspan(count); }

  // "byte N", the first that wasn't consumed: for error messages.
  std::string place() const { return "byte " + std::to_string(offset_ - unread_.size()); }

 private:
  static constexpr size_t kBlock = size_t{128} << 10;  // also below the 32 bits that zlib counts in

  const ByteSource& source_;
  uint64_t size_;
  uint64_t offset_ = 0;  // of the next block
  Inflater::OnInput on_input_;
  std::vector<uint8_t> buffer_;
  Bytes unread_;
};

}  // namespace seekable::inflate
