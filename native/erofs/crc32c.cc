#include "erofs/crc32c.h"

#include <array>

namespace seekable::erofs {

namespace {

constexpr uint32_t kReflectedPolynomial = 0x82F63B78;

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ (value & 1 ? kReflectedPolynomial : 0);
    table[byte] = value;
  }
  return table;
}

constexpr std::array<uint32_t, 256> kTable = make_table();

}  // namespace

// A byte at a time: one image needs it for less than 4 KiB.
uint32_t crc32c(Bytes bytes, uint32_t start) {
  uint32_t value = start;
  for (const uint8_t byte : bytes) value = (value >> 8) ^ kTable[(value ^ byte) & 0xFF];
  return value;
}

}  // namespace seekable::erofs
