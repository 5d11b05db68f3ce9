// The part of a CRC-32 that carry-less multiplication does: many bytes become few with the same remainder.
//
// A message is a polynomial, whose remainder the CRC is. 16 bytes of it are moved kStride bytes towards its
// end by multiplying each half with what its power of x there leaves as the remainder, and added to what is
// there. That is done to all but the last of the strides; the last is left to other code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace seekable::inflate {

// Folds `bytes` into the kStride bytes at `folded`, to go on from `crc`, the register without its final
// inversion. REQUIRES: `bytes` is one or more whole strides.
using Fold = void(uint32_t crc, Bytes bytes, uint8_t* folded);

#if defined(__x86_64__)
Fold fold_pclmul;
Fold fold_avx512;
#elif defined(__aarch64__)
Fold fold_pmull;
#endif

// x^n modulo the polynomial, with the bits in the order of the CRC, as carry-less multiplication wants it.
constexpr int64_t power_of_x(unsigned n) {
  uint32_t value = 1u << 31;
  for (unsigned i = 0; i < n; ++i) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0);
  return int64_t{value} << 1;
}

constexpr size_t kStride = 128;
constexpr int64_t kLowFactor = power_of_x(8 * kStride + 32);
constexpr int64_t kHighFactor = power_of_x(8 * kStride - 32);

}  // namespace seekable::inflate
