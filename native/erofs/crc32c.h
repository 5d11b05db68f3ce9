// CRC-32C (Castagnoli) as the EROFS superblock wants it.
#pragma once

#include "base/bytes.h"

namespace seekable::erofs {

inline constexpr uint32_t kCrc32cStart = 0xFFFFFFFF;

// The register after `bytes`, without the final inversion of other formats. A start value other than
// kCrc32cStart continues an earlier call.
uint32_t crc32c(Bytes bytes, uint32_t start = kCrc32cStart);

}  // namespace seekable::erofs
