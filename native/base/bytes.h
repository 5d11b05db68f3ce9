// Views of bytes, and little-endian loads and stores.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace seekable {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

static_assert(std::endian::native == std::endian::little, "loads and stores below assume it");

// REQUIRES: sizeof(T) readable bytes at `from`; no alignment is needed.
template <typename T>
T load_le(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// REQUIRES: sizeof(T) writable bytes at `to`; no alignment is needed.
template <typename T>
void store_le(uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof(T));
}

inline Bytes as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace seekable
