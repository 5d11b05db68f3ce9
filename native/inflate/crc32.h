// The CRC-32 of gzip.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace seekable::inflate {

// kPclmul is the narrower one of x86-64; kPortable is zlib's, kTable our own for where there is no zlib.
enum class CrcKernel { kFastest, kPclmul, kPortable, kTable };

// Continues from `crc`, that of the bytes before; 0 at the start. The kernel is chosen by tests; one that the
// CPU lacks is the portable one.
uint32_t crc32(uint32_t crc, Bytes bytes, CrcKernel kernel = CrcKernel::kFastest);

}  // namespace seekable::inflate
