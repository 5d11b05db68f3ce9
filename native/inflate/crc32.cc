#include "inflate/crc32.h"

#include <zlib.h>

#include <array>
#include <cstddef>

#include "base/cpu.h"
#include "inflate/crc32_fold.h"

// Node's zlib, which not every program that loads Node's addons offers: Bun does not.
#pragma weak crc32_z

namespace seekable::inflate {

namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320u : 0);
    table[byte] = value;
  }
  return table;
}

uint32_t crc32_table(uint32_t crc, Bytes bytes) {
  static constexpr std::array<uint32_t, 256> kTable = make_table();
  uint32_t value = ~crc;
  for (const uint8_t byte : bytes) value = (value >> 8) ^ kTable[(value ^ byte) & 0xff];
  return ~value;
}

uint32_t crc32_zlib(uint32_t crc, Bytes bytes) {
  if (crc32_z == nullptr) return crc32_table(crc, bytes);
  return static_cast<uint32_t>(crc32_z(crc, bytes.data(), bytes.size()));
}

Fold* fold_of([[maybe_unused]] CrcKernel kernel) {
#if defined(__x86_64__)
  const bool any = kernel == CrcKernel::kFastest;
  if (any && cpu().avx512f && cpu().vpclmulqdq) return fold_avx512;
  if ((any || kernel == CrcKernel::kPclmul) && cpu().pclmul && cpu().sse41) return fold_pclmul;
#elif defined(__aarch64__)
  if (kernel == CrcKernel::kFastest && cpu().pmull) return fold_pmull;
#endif
  return nullptr;
}

}  // namespace

uint32_t crc32(uint32_t crc, Bytes bytes, CrcKernel kernel) {
  static Fold* const fastest = fold_of(CrcKernel::kFastest);
  const auto rest = kernel == CrcKernel::kTable ? crc32_table : crc32_zlib;
  Fold* const fold = kernel == CrcKernel::kFastest ? fastest : fold_of(kernel);
  if (fold != nullptr && bytes.size() >= 2 * kStride) {
    const size_t whole = bytes.size() / kStride * kStride;
    std::array<uint8_t, kStride> folded;
    fold(~crc, bytes.first(whole), folded.data());
    // `folded` has the start of a CRC in it: none is to be added.
    crc = rest(0xffffffff, folded);
    bytes = bytes.subspan(whole);
  }
  return rest(crc, bytes);
}

}  // namespace seekable::inflate
