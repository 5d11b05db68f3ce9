// The part of an image that a caller asked for. Structures may begin before it and end behind it.
#pragma once

#include <algorithm>

#include "base/bytes.h"

namespace seekable::erofs {

class Window {
 public:
  // `out` is to hold the bytes of the image from `begin` on.
  Window(uint64_t begin, MutableBytes out) : begin_(begin), out_(out) {}

  uint64_t begin() const { return begin_; }
  uint64_t end() const { return begin_ + out_.size(); }

  // What of a structure lies in the window.
  struct Part {
    uint64_t skip;       // bytes of the structure before the window
    MutableBytes bytes;  // where the next ones go; empty if none of it is asked for
  };
  // Of `length` bytes at `offset` of the image.
  Part part(uint64_t offset, uint64_t length) const {
    const uint64_t from = std::max(offset, begin());
    const uint64_t to = std::min(offset + length, end());
    if (from >= to) return {0, {}};
    return {from - offset, out_.subspan(from - begin_, to - from)};
  }

  void put(uint64_t offset, Bytes bytes) const {
    const Part to = part(offset, bytes.size());
    if (!to.bytes.empty()) std::memcpy(to.bytes.data(), bytes.data() + to.skip, to.bytes.size());
  }
  void clear(uint64_t offset, uint64_t length) const {
    const Part to = part(offset, length);
    if (!to.bytes.empty()) std::memset(to.bytes.data(), 0, to.bytes.size());
  }

 private:
  uint64_t begin_;
  MutableBytes out_;
};

template <typename T>
Bytes bytes_of(const T& structure) {
  return {reinterpret_cast<const uint8_t*>(&structure), sizeof structure};
}

}  // namespace seekable::erofs
