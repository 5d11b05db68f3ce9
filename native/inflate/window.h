// What an inflater puts out: new bytes, behind the last 32 KiB before them, which matches refer to.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "base/buffer.h"

namespace seekable::inflate {

class Window {
 public:
  static constexpr size_t kHistory = size_t{32} << 10;
  // So many new bytes are a full window. With the history they stay in a second-level cache.
  static constexpr size_t kRoom = size_t{256} << 10;
  // Writers may go on behind the room for this much.
  static constexpr size_t kMargin = 1024;
  // Readable bytes on both sides of literals(), the 256 before it apart from those.
  static constexpr size_t kBesideLiterals = 64;

  static Result<Window> allocate() {
    Window window(TRY(Buffer::allocate(kLiterals + kBesideLiterals)));
    std::memset(window.literals() - kLiteralZone, 0, kLiteralZone + kBesideLiterals);
    for (int byte = 0; byte < 256; ++byte) *(window.literals() - 1 - byte) = static_cast<uint8_t>(byte);
    return window;
  }

  // Makes room: the new bytes become history.
  void turn_over() {
    const size_t kept = std::min(end_, kHistory);
    const size_t gone = end_ - kept;
    std::memmove(buffer_.data(), buffer_.data() + gone, kept);
    start_ -= std::min(start_, gone);
    fresh_ = end_ = kept;
  }

  // What is there now is no history for what follows.
  void forget() { start_ = end_; }

  bool full() const { return end_ >= fresh_ + kRoom; }
  size_t room() const { return fresh_ + kRoom - end_; }  // REQUIRES: !full()
  // The new bytes, until turn_over().
  Bytes fresh() { return {buffer_.data() + fresh_, end_ - fresh_}; }

  uint8_t* end() { return buffer_.data() + end_; }
  // Matches may refer to what is here and behind it.
  const uint8_t* start() { return buffer_.data() + start_; }
  // REQUIRES: count <= room() + kMargin, all written.
  void add(size_t count) { end_ += count; }

  // Byte value N is at literals() - 1 - N: a literal can be copied as a match is. All of them are above the
  // window.
  uint8_t* literals() { return buffer_.data() + kLiterals; }

 private:
  static constexpr size_t kLiteralZone = 256 + kBesideLiterals;
  static constexpr size_t kLiterals = kHistory + kRoom + kMargin + kLiteralZone;

  explicit Window(Buffer buffer) : buffer_(std::move(buffer)) {}

  Buffer buffer_;
  size_t start_ = 0;
  size_t fresh_ = 0;
  size_t end_ = 0;
};

}  // namespace seekable::inflate
