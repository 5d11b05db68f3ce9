#include "hash/sha1.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "base/bytes.h"
#include "hash/message.h"

namespace seekable::hash {

namespace {

constexpr size_t kChunk = kChunkSize<uint32_t>;
using State = std::array<uint32_t, 5>;

// What differs between the four quarters of the 80 rounds (FIPS 180-4, 4.1.1 and 4.2.1).
uint32_t mix(size_t round, uint32_t b, uint32_t c, uint32_t d) {
  switch (round / 20) {
    case 0: return 0x5a827999 + ((b & c) | (~b & d));
    case 1: return 0x6ed9eba1 + (b ^ c ^ d);
    case 2: return 0x8f1bbcdc + ((b & c) | (b & d) | (c & d));
    default: return 0xca62c1d6 + (b ^ c ^ d);
  }
}

void compress(State& state, const uint8_t* chunk) {
  uint32_t w[80];
  for (size_t i = 0; i < 16; ++i) w[i] = swap_bytes(load_le<uint32_t>(chunk + 4 * i));
  for (size_t i = 16; i < 80; ++i) w[i] = std::rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
  auto [a, b, c, d, e] = state;
  for (size_t i = 0; i < 80; ++i) {
    const uint32_t next = std::rotl(a, 5) + mix(i, b, c, d) + e + w[i];
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = next;
  }
  const State change = {a, b, c, d, e};
  for (size_t j = 0; j < state.size(); ++j) state[j] += change[j];
}

// The padding is that of SHA-256.
State sha1(std::vector<uint8_t> message) {
  const size_t size = message.size();
  const size_t used = size % kChunk;
  message.resize(size - used + 2 * kChunk);
  const size_t chunks = size / kChunk + pad_message<uint32_t>(message.data() + size - used, used, size);
  State state = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
  for (size_t i = 0; i < chunks; ++i) compress(state, message.data() + i * kChunk);
  return state;
}

// 6ba7b811-9dad-11d1-80b4-00c04fd430c8 (RFC 9562, 6.6).
constexpr std::array<uint8_t, 16> kUrlNamespace = {0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1,
                                                   0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8};

}  // namespace

std::array<uint8_t, 16> uuid5_url(std::string_view name) {
  std::vector<uint8_t> message(kUrlNamespace.begin(), kUrlNamespace.end());
  message.insert(message.end(), name.begin(), name.end());
  const State digest = sha1(std::move(message));
  std::array<uint8_t, 16> uuid;
  for (size_t j = 0; j < 4; ++j) store_le(uuid.data() + 4 * j, swap_bytes(digest[j]));
  uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x50);  // version 5
  uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);  // the variant of RFC 9562
  return uuid;
}

}  // namespace seekable::hash
