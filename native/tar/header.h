// The 512-byte header block: v7, ustar (POSIX.1-1988), star's and GNU tar's variants.
//
// Parsers in header.h, pax.h and sparse.h return errors with an empty `what`: only the reader knows the
// entry's full name and where its header lies, and adds both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable::tar {

inline constexpr size_t kBlockSize = 512;

// Told apart by the magic at byte 257. Decides what the bytes from 329 on mean.
enum class Dialect : uint8_t { kV7, kUstar, kGnu };

struct Header {
  Dialect dialect = Dialect::kV7;
  char typeflag = '0';
  std::string name;    // the prefix included
  std::string target;  // of links
  int64_t mode = 0;
  int64_t uid = 0;
  int64_t gid = 0;
  int64_t size = 0;  // of what is stored; may be negative in a broken tar
  int64_t mtime = 0;
  int64_t device_major = 0;  // read for devices only, elsewhere the bytes may be anything
  int64_t device_minor = 0;
};

// The functions below REQUIRE a block of kBlockSize bytes.

bool is_zero_block(Bytes block);

// True if the checksum field is the sum of the block's bytes, taken as unsigned or (as some old tars did)
// signed.
bool has_valid_checksum(Bytes block);

// The name that the block alone gives.
std::string header_name(Bytes block);

// kCorrupt when a number is none.
Result<Header> parse_header(Bytes block);

// A number field: octal digits with spaces or NULs around, or base-256 in two's complement when the first bit
// is set (GNU). Blank is 0. nullopt for anything else, and for numbers beyond 64 bits.
std::optional<int64_t> parse_number(Bytes field);

}  // namespace seekable::tar
