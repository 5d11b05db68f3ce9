// Bits of a DEFLATE stream, the lowest of each byte first.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace seekable::inflate {

// At `next` and behind it are 8 readable bytes more than it is refilled for: nothing is checked here.
struct BitReader {
  const uint8_t* next;  // the first byte that isn't wholly in `bits`
  uint64_t bits = 0;    // those at `count` and above are either zero or what they will be once they count
  unsigned count = 0;

  // Afterwards `count` is 56 at least.
  void refill() {
    bits |= load_le<uint64_t>(next) << count;
    next += (63 - count) >> 3;
    count |= 56;
  }

  // REQUIRES: count >= width, width < 32.
  unsigned peek(unsigned width) const { return static_cast<unsigned>(bits & ((uint64_t{1} << width) - 1)); }
  void drop(unsigned width) {
    bits >>= width;
    count -= width;
  }
  unsigned take(unsigned width) {
    const unsigned value = peek(width);
    drop(width);
    return value;
  }

  // Gives whole bytes back to the input, so that fewer than 8 bits are left.
  void return_whole_bytes() {
    next -= count >> 3;
    count &= 7;
    bits &= (1u << count) - 1;
  }
};

}  // namespace seekable::inflate
