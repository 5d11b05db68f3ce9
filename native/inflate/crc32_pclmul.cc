// CRC-32 folded with x86-64's carry-less multiplication, 16 bytes at a time.
#if defined(__x86_64__)

#include <immintrin.h>

#include "inflate/crc32_fold.h"

namespace seekable::inflate {

[[gnu::target("pclmul,sse4.1")]] void fold_pclmul(uint32_t crc, Bytes bytes, uint8_t* folded) {
  constexpr size_t kVectors = kStride / sizeof(__m128i);
  const __m128i* from = reinterpret_cast<const __m128i*>(bytes.data());
  const __m128i factors = _mm_set_epi64x(kHighFactor, kLowFactor);
  __m128i sums[kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) sums[i] = _mm_loadu_si128(from + i);
  sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (size_t at = kStride; at < bytes.size(); at += kStride) {
    from += kVectors;
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      const __m128i low = _mm_clmulepi64_si128(sums[i], factors, 0x00);
      const __m128i high = _mm_clmulepi64_si128(sums[i], factors, 0x11);
      sums[i] = _mm_xor_si128(_mm_xor_si128(low, high), _mm_loadu_si128(from + i));
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(folded) + i, sums[i]);
}

}  // namespace seekable::inflate

#endif
