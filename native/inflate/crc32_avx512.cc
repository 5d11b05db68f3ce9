// CRC-32 folded with AVX-512's carry-less multiplication, 64 bytes at a time.
#if defined(__x86_64__)

#include <immintrin.h>

#include "inflate/crc32_fold.h"

namespace seekable::inflate {

[[gnu::target("vpclmulqdq,avx512f")]] void fold_avx512(uint32_t crc, Bytes bytes, uint8_t* folded) {
  constexpr size_t kVector = sizeof(__m512i);
  const __m512i factors = _mm512_set4_epi64(kHighFactor, kLowFactor, kHighFactor, kLowFactor);
  __m512i sums[] = {_mm512_loadu_si512(bytes.data()), _mm512_loadu_si512(bytes.data() + kVector)};
  sums[0] = _mm512_xor_si512(sums[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128(static_cast<int>(crc))));
  for (size_t at = kStride; at < bytes.size(); at += kStride) {
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; ++i) {
      const __m512i next = _mm512_loadu_si512(bytes.data() + at + i * kVector);
      const __m512i low = _mm512_clmulepi64_epi128(sums[i], factors, 0x00);
      const __m512i high = _mm512_clmulepi64_epi128(sums[i], factors, 0x11);
      sums[i] = _mm512_ternarylogic_epi64(low, high, next, 0x96);  // all three added
    }
  }
  _mm512_storeu_si512(folded, sums[0]);
  _mm512_storeu_si512(folded + kVector, sums[1]);
}

}  // namespace seekable::inflate

#endif
