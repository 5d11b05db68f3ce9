// Sizes from untrusted input: 64-bit arithmetic that reports overflow instead of wrapping.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>

namespace seekable {

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t sum;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}

inline std::optional<uint64_t> checked_multiply(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// REQUIRES: unit > 0.
constexpr uint64_t ceil_divide(uint64_t value, uint64_t unit) { return value / unit + (value % unit != 0); }

// REQUIRES: unit > 0 and the result fits 64 bits (values are file sizes, below 2^63).
constexpr uint64_t round_up(uint64_t value, uint64_t unit) { return ceil_divide(value, unit) * unit; }

}  // namespace seekable
