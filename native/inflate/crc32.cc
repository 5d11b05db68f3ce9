#include "inflate/crc32.h"

#include <zlib.h>

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace seekable::inflate {

namespace {

uint32_t crc32_portable(uint32_t crc, Bytes bytes) {
  return static_cast<uint32_t>(crc32_z(crc, bytes.data(), bytes.size()));
}

#if defined(__x86_64__)

// x^n modulo the polynomial, with the bits in the order of the CRC, as carry-less multiplication wants it.
constexpr int64_t power_of_x(unsigned n) {
  uint32_t value = 1u << 31;
  for (unsigned i = 0; i < n; ++i) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0);
  return int64_t{value} << 1;
}

// A message is a polynomial, whose remainder the CRC is. 16 bytes of it are moved `kStride` bytes towards its
// end by multiplying each half with what its power of x there leaves as the remainder, and added to what is
// there: so many bytes become fewer, with the same remainder. Here that is done to all but the last of the
// strides, the last is left to the portable function.
constexpr size_t kStride = 128;
constexpr int64_t kLowFactor = power_of_x(8 * kStride + 32);
constexpr int64_t kHighFactor = power_of_x(8 * kStride - 32);

// Of whole strides, into `folded`.
using Fold = void(uint32_t crc, Bytes bytes, uint8_t* folded);

[[gnu::target("pclmul,sse4.1")]] void fold_pclmul(uint32_t crc, Bytes bytes, uint8_t* folded) {
  constexpr size_t kVectors = kStride / sizeof(__m128i);
  const auto load = [&](size_t at, size_t i) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + at) + i);
  };
  const __m128i factors = _mm_set_epi64x(kHighFactor, kLowFactor);
  __m128i sums[kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) sums[i] = load(0, i);
  sums[0] = _mm_xor_si128(sums[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (size_t at = kStride; at < bytes.size(); at += kStride) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      const __m128i low = _mm_clmulepi64_si128(sums[i], factors, 0x00);
      const __m128i high = _mm_clmulepi64_si128(sums[i], factors, 0x11);
      sums[i] = _mm_xor_si128(_mm_xor_si128(low, high), load(at, i));
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(folded) + i, sums[i]);
}

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

Fold* fold_of(CrcKernel kernel) {
  const bool any = kernel == CrcKernel::kFastest;
  if (any && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq")) return fold_avx512;
  const bool pclmul = any || kernel == CrcKernel::kPclmul;
  if (pclmul && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1")) return fold_pclmul;
  return nullptr;
}

#endif

}  // namespace

uint32_t crc32(uint32_t crc, Bytes bytes, [[maybe_unused]] CrcKernel kernel) {
#if defined(__x86_64__)
  static Fold* const fastest = fold_of(CrcKernel::kFastest);
  Fold* const fold = kernel == CrcKernel::kFastest ? fastest : fold_of(kernel);
  if (fold != nullptr && bytes.size() >= 2 * kStride) {
    const size_t whole = bytes.size() / kStride * kStride;
    std::array<uint8_t, kStride> folded;
    fold(~crc, bytes.first(whole), folded.data());
    // `folded` has the start of a CRC in it: none is to be added.
    crc = crc32_portable(0xffffffff, folded);
    bytes = bytes.subspan(whole);
  }
#endif
  return crc32_portable(crc, bytes);
}

}  // namespace seekable::inflate
