// SHA-512 of four messages in step, with AVX2.
#if defined(__x86_64__)

#include <immintrin.h>

#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"

#define SEEKABLE_TARGET __attribute__((target("avx2"), always_inline))

namespace seekable::hash {
namespace {

using Word = uint64_t;
using Vector = __m256i;
constexpr size_t kLanes = 4;

template <int n>
SEEKABLE_TARGET inline Vector shift(Vector x) {
  return _mm256_srli_epi64(x, n);
}
template <int n>
SEEKABLE_TARGET inline Vector rotate(Vector x) {
  return _mm256_or_si256(shift<n>(x), _mm256_slli_epi64(x, 64 - n));
}
SEEKABLE_TARGET inline Vector add(Vector x, Vector y) { return _mm256_add_epi64(x, y); }
SEEKABLE_TARGET inline Vector broadcast(Word word) {
  return _mm256_set1_epi64x(static_cast<long long>(word));
}
SEEKABLE_TARGET inline Vector load(const void* from) {
  return _mm256_loadu_si256(static_cast<const Vector*>(from));
}
SEEKABLE_TARGET inline void store(Word* to, Vector x) {
  _mm256_storeu_si256(reinterpret_cast<Vector*>(to), x);
}
SEEKABLE_TARGET inline Vector xor3(Vector x, Vector y, Vector z) {
  return _mm256_xor_si256(_mm256_xor_si256(x, y), z);
}
SEEKABLE_TARGET inline Vector choose(Vector x, Vector y, Vector z) {
  return _mm256_xor_si256(_mm256_and_si256(x, _mm256_xor_si256(y, z)), z);
}
SEEKABLE_TARGET inline Vector majority(Vector x, Vector y, Vector z) {
  return _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(_mm256_or_si256(x, y), z));
}

// Rows of four words become columns.
SEEKABLE_TARGET inline void transpose(Vector* rows) {
  const Vector even01 = _mm256_unpacklo_epi64(rows[0], rows[1]),
               odd01 = _mm256_unpackhi_epi64(rows[0], rows[1]);
  const Vector even23 = _mm256_unpacklo_epi64(rows[2], rows[3]),
               odd23 = _mm256_unpackhi_epi64(rows[2], rows[3]);
  rows[0] = _mm256_permute2x128_si256(even01, even23, 0x20);
  rows[1] = _mm256_permute2x128_si256(odd01, odd23, 0x20);
  rows[2] = _mm256_permute2x128_si256(even01, even23, 0x31);
  rows[3] = _mm256_permute2x128_si256(odd01, odd23, 0x31);
}

SEEKABLE_TARGET inline void load_chunk(Vector (&w)[16], const uint8_t* const* messages, size_t offset) {
  const Vector swap_bytes =
      _mm256_broadcastsi128_si256(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607));
#pragma GCC unroll 4
  for (size_t quarter = 0; quarter < 16; quarter += 4) {
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; ++i) {
      w[quarter + i] = _mm256_shuffle_epi8(load(messages[i] + offset + quarter * 8), swap_bytes);
    }
    transpose(w + quarter);
  }
}

#include "hash/rounds.inc"

}  // namespace

__attribute__((target("avx2"))) void compress_sha512_avx2(uint64_t* state, const uint8_t* const* messages,
                                                          size_t chunks) {
  compress_lanes(state, messages, chunks);
}

}  // namespace seekable::hash

#endif
