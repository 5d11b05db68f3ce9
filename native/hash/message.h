// The ends of a SHA-2 message (FIPS 180-4, 5.1 and 6): the padding after its last byte, and the digest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace seekable::hash {

// The bytes that one step of the compression function takes.
template <typename Word>
constexpr size_t kChunkSize = 16 * sizeof(Word);

template <typename Word>
Word swap_bytes(Word word) {
  if constexpr (sizeof(Word) == 8) {
    return __builtin_bswap64(word);
  } else {
    return __builtin_bswap32(word);
  }
}

// Pads the last `used` bytes of a message of `length` bytes, which lie at `tail`. Returns how many chunks, 1
// or 2, are at `tail` now. REQUIRES: used < kChunkSize<Word>; `tail` has room for two chunks.
template <typename Word>
size_t pad_message(uint8_t* tail, size_t used, uint64_t length) {
  constexpr size_t kLengthSize = 2 * sizeof(Word);
  const size_t chunks = used + 1 + kLengthSize <= kChunkSize<Word> ? 1 : 2;
  const size_t end = chunks * kChunkSize<Word>;
  std::memset(tail + used, 0, end - used);
  tail[used] = 0x80;
  store_le(tail + end - 8, swap_bytes<uint64_t>(length << 3));  // the length in bits, big endian
  if (kLengthSize > 8) tail[end - 9] = static_cast<uint8_t>(length >> 61);
  return chunks;
}

// REQUIRES: `out` has room for 8 words. Word j of the state is state[j * lanes].
template <typename Word>
void store_digest(const Word* state, size_t lanes, uint8_t* out) {
  for (size_t j = 0; j < 8; ++j) store_le(out + j * sizeof(Word), swap_bytes(state[j * lanes]));
}

}  // namespace seekable::hash
