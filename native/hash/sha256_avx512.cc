// SHA-256 of sixteen messages in step, with AVX-512 F and BW.
#if defined(__x86_64__)

#include <immintrin.h>

#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"

#if !defined( \
    __clang__)  // gcc 12 takes the undefined registers of its own header for a mistake (its bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#define SEEKABLE_TARGET __attribute__((target("avx512f,avx512bw"), always_inline))

namespace seekable::hash {
namespace {

using Word = uint32_t;
using Vector = __m512i;
constexpr size_t kLanes = 16;

template <int n>
SEEKABLE_TARGET inline Vector rotate(Vector x) {
  return _mm512_ror_epi32(x, n);
}
template <int n>
SEEKABLE_TARGET inline Vector shift(Vector x) {
  return _mm512_srli_epi32(x, n);
}
SEEKABLE_TARGET inline Vector add(Vector x, Vector y) { return _mm512_add_epi32(x, y); }
SEEKABLE_TARGET inline Vector broadcast(Word word) { return _mm512_set1_epi32(static_cast<int>(word)); }
SEEKABLE_TARGET inline Vector load(const void* from) { return _mm512_loadu_si512(from); }
SEEKABLE_TARGET inline void store(Word* to, Vector x) { _mm512_storeu_si512(to, x); }
// The constants are the truth tables of the functions.
SEEKABLE_TARGET inline Vector xor3(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi32(x, y, z, 0x96);
}
SEEKABLE_TARGET inline Vector choose(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi32(x, y, z, 0xca);
}
SEEKABLE_TARGET inline Vector majority(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi32(x, y, z, 0xe8);
}

// Rows of sixteen words become columns. The first two steps transpose squares of four words in each quarter
// of four rows; the last two move whole quarters.
SEEKABLE_TARGET inline void transpose(Vector (&rows)[16]) {
  Vector t[16];
#pragma GCC unroll 4
  for (size_t i = 0; i < 16; i += 4) {
    const Vector low01 = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    const Vector low23 = _mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]);
    const Vector high01 = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    const Vector high23 = _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]);
    t[i] = _mm512_unpacklo_epi64(low01, low23);
    t[i + 1] = _mm512_unpackhi_epi64(low01, low23);
    t[i + 2] = _mm512_unpacklo_epi64(high01, high23);
    t[i + 3] = _mm512_unpackhi_epi64(high01, high23);
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const Vector upper02 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88);
    const Vector upper13 = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd);
    const Vector lower02 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
    const Vector lower13 = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
    rows[i] = _mm512_shuffle_i32x4(upper02, lower02, 0x88);
    rows[i + 4] = _mm512_shuffle_i32x4(upper13, lower13, 0x88);
    rows[i + 8] = _mm512_shuffle_i32x4(upper02, lower02, 0xdd);
    rows[i + 12] = _mm512_shuffle_i32x4(upper13, lower13, 0xdd);
  }
}

SEEKABLE_TARGET inline void load_chunk(Vector (&w)[16], const uint8_t* const* messages, size_t offset) {
  const Vector swap_bytes = _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
#pragma GCC unroll 16
  for (size_t i = 0; i < 16; ++i) w[i] = _mm512_shuffle_epi8(load(messages[i] + offset), swap_bytes);
  transpose(w);
}

#include "hash/rounds.inc"

}  // namespace

__attribute__((target("avx512f,avx512bw"))) void compress_sha256_avx512(uint32_t* state,
                                                                        const uint8_t* const* messages,
                                                                        size_t chunks) {
  compress_lanes(state, messages, chunks);
}

}  // namespace seekable::hash

#endif
