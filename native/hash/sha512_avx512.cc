// SHA-512 of eight messages in step, with AVX-512 F and BW.
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

using Word = uint64_t;
using Vector = __m512i;
constexpr size_t kLanes = 8;

template <int n>
SEEKABLE_TARGET inline Vector rotate(Vector x) {
  return _mm512_ror_epi64(x, n);
}
template <int n>
SEEKABLE_TARGET inline Vector shift(Vector x) {
  return _mm512_srli_epi64(x, n);
}
SEEKABLE_TARGET inline Vector add(Vector x, Vector y) { return _mm512_add_epi64(x, y); }
SEEKABLE_TARGET inline Vector broadcast(Word word) { return _mm512_set1_epi64(static_cast<long long>(word)); }
SEEKABLE_TARGET inline Vector load(const void* from) { return _mm512_loadu_si512(from); }
SEEKABLE_TARGET inline void store(Word* to, Vector x) { _mm512_storeu_si512(to, x); }
// The constants are the truth tables of the functions.
SEEKABLE_TARGET inline Vector xor3(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi64(x, y, z, 0x96);
}
SEEKABLE_TARGET inline Vector choose(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi64(x, y, z, 0xca);
}
SEEKABLE_TARGET inline Vector majority(Vector x, Vector y, Vector z) {
  return _mm512_ternarylogic_epi64(x, y, z, 0xe8);
}

// Rows of eight words become columns, in three steps that swap single words, pairs and halves.
SEEKABLE_TARGET inline void transpose(Vector* rows) {
  Vector t[8], u[8];
#pragma GCC unroll 4
  for (size_t i = 0; i < 8; i += 2) {
    t[i] = _mm512_unpacklo_epi64(rows[i], rows[i + 1]);      // words 0 2 4 6 of two rows
    t[i + 1] = _mm512_unpackhi_epi64(rows[i], rows[i + 1]);  // words 1 3 5 7
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    const size_t a = i % 2 + i / 2 * 4;
    u[a] = _mm512_shuffle_i64x2(t[a], t[a + 2], 0x88);      // of four rows: words 0 4, or 1 5
    u[a + 2] = _mm512_shuffle_i64x2(t[a], t[a + 2], 0xdd);  // words 2 6, or 3 7
  }
#pragma GCC unroll 4
  for (size_t i = 0; i < 4; ++i) {
    rows[i] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0x88);
    rows[i + 4] = _mm512_shuffle_i64x2(u[i], u[i + 4], 0xdd);
  }
}

SEEKABLE_TARGET inline void load_chunk(Vector (&w)[16], const uint8_t* const* messages, size_t offset) {
  const Vector swap_bytes = _mm512_broadcast_i32x4(_mm_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607));
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) {
    w[i] = _mm512_shuffle_epi8(load(messages[i] + offset), swap_bytes);
    w[i + 8] = _mm512_shuffle_epi8(load(messages[i] + offset + 64), swap_bytes);
  }
  transpose(w);
  transpose(w + 8);
}

#include "hash/rounds.inc"

}  // namespace

__attribute__((target("avx512f,avx512bw"))) void compress_sha512_avx512(uint64_t* state,
                                                                        const uint8_t* const* messages,
                                                                        size_t chunks) {
  compress_lanes(state, messages, chunks);
}

}  // namespace seekable::hash

#endif
