// CRC-32 folded with ARMv8's carry-less multiplication, 16 bytes at a time.
#if defined(__aarch64__)

#include <arm_neon.h>

#include "inflate/crc32_fold.h"

#define SEEKABLE_TARGET __attribute__((target("+crypto"), always_inline))

namespace seekable::inflate {

namespace {

SEEKABLE_TARGET inline uint64x2_t multiply(uint64_t a, int64_t b) {
  return vreinterpretq_u64_p128(vmull_p64(static_cast<poly64_t>(a), static_cast<poly64_t>(b)));
}

SEEKABLE_TARGET inline uint64x2_t load(const uint8_t* from) { return vreinterpretq_u64_u8(vld1q_u8(from)); }

}  // namespace

__attribute__((target("+crypto"))) void fold_pmull(uint32_t crc, Bytes bytes, uint8_t* folded) {
  constexpr size_t kVectors = kStride / sizeof(uint64x2_t);
  uint64x2_t sums[kVectors];
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) sums[i] = load(bytes.data() + 16 * i);
  sums[0] = veorq_u64(sums[0], vsetq_lane_u64(crc, vdupq_n_u64(0), 0));
  for (size_t at = kStride; at < bytes.size(); at += kStride) {
#pragma GCC unroll 8
    for (size_t i = 0; i < kVectors; ++i) {
      const uint64x2_t low = multiply(vgetq_lane_u64(sums[i], 0), kLowFactor);
      const uint64x2_t high = multiply(vgetq_lane_u64(sums[i], 1), kHighFactor);
      sums[i] = veorq_u64(veorq_u64(low, high), load(bytes.data() + at + 16 * i));
    }
  }
#pragma GCC unroll 8
  for (size_t i = 0; i < kVectors; ++i) vst1q_u8(folded + 16 * i, vreinterpretq_u8_u64(sums[i]));
}

}  // namespace seekable::inflate

#endif
