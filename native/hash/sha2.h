// SHA-256 and SHA-512: streaming, two streams in step, and many equal blocks at once.
// Which instructions are used is decided at run time (dispatch.cc).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bytes.h"

namespace seekable::hash {

enum class Algorithm : uint8_t { kSha256, kSha512 };

constexpr size_t digest_size(Algorithm algorithm) { return algorithm == Algorithm::kSha256 ? 32 : 64; }

using Sha256Digest = std::array<uint8_t, 32>;
using Sha512Digest = std::array<uint8_t, 64>;

// One SHA-256 over bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  void update(Bytes bytes);
  // REQUIRES: called once; no update() after it.
  Sha256Digest finish();
  // a.update(x) and b.update(y), interleaved: the second stream is almost free where the CPU has SHA
  // instructions.
  static void update_both(Sha256& a, Bytes x, Sha256& b, Bytes y);

 private:
  // Takes what a begun block lacks, and returns the rest: if it has bytes, no block is begun.
  Bytes complete_pending(Bytes bytes);

  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> pending_;  // length_ % 64 bytes that wait for a whole block
  uint64_t length_ = 0;              // bytes so far
};

Sha256Digest sha256(Bytes bytes);
Sha512Digest sha512(Bytes bytes);

// Writes digest i = H(salt || block i) to out + i * digest_size(algorithm), for the `count` blocks of
// `block_size` bytes each that lie one after the other at `blocks`. REQUIRES: block_size a power of two >=
// 512; salt.size() <= 256.
void hash_many(Algorithm algorithm, const uint8_t* blocks, size_t block_size, size_t count, Bytes salt,
               uint8_t* out);

// The instruction sets that hash_many and Sha256 use now, e.g. "avx512" and "sha-ni".
struct Level {
  const char* sha512_many;    // "avx512" (8 lanes), "avx2" (4 lanes), "sha512" (2 in step), "portable"
  const char* sha256_many;    // "avx512" (16 lanes), "sha-ni" or "sha2" (2 in step), "portable"
  const char* sha256_stream;  // "sha-ni", "sha2", "portable"
};
Level level();

}  // namespace seekable::hash
