// The compressed side of an inflater: a source read in blocks, each shown to whoever hashes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/buffer.h"
#include "inflate/input.h"

namespace seekable::inflate {

class Feed {
 public:
  static constexpr size_t kBlock = size_t{128} << 10;
  // What a decoder may ask to see at once, and may read beyond what it was shown.
  static constexpr size_t kMargin = 1024;

  // `block` is how much is read at once; tests make it small.
  static Result<Feed> open(const ByteSource& source, Inflater::OnInput on_input, size_t block = kBlock);

  // Bytes not yet consumed: `least` of them or more, unless the source ends before; empty at its end. The
  // kMargin bytes that follow them can be read too, and are zeros if the source has ended().
  // REQUIRES: 0 < least <= kMargin.
  Result<Bytes> peek(size_t least = 1);
  // True when no more bytes will follow those that peek() gives.
  bool ended() const { return offset_ == size_; }
  // REQUIRES: count <= what peek() returned.
  void consume(size_t count) { unread_ = unread_.subspan(count); }

  // Of the first byte that wasn't consumed.
  uint64_t offset() const { return offset_ - unread_.size(); }
  // The same, for error messages.
  std::string place() const { return "byte " + std::to_string(offset()); }

 private:
  Feed(const ByteSource& source, Inflater::OnInput on_input, size_t block, Buffer buffer)
      : source_(&source),
        size_(source.size()),
        block_(block),
        on_input_(std::move(on_input)),
        buffer_(std::move(buffer)) {}

  Status read_block();

  const ByteSource* source_;
  uint64_t size_;
  uint64_t offset_ = 0;  // of the next block
  size_t block_;
  Inflater::OnInput on_input_;
  Buffer buffer_;  // what was left of earlier blocks (up to kMargin), the block, kMargin
  Bytes unread_;
};

}  // namespace seekable::inflate
