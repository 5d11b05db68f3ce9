// PAX extended headers (POSIX.1-2001): records "LENGTH KEY=VALUE\n" that overrule the header that follows
// them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace seekable::tar {

// The records of one extended header that this reader acts on; the others are dropped as they are read, so
// that hostile ones take no memory.
struct PaxHeader {
  // Of equal keys the last one. Sparse format 0.0 repeats its keys on purpose: those are collected under
  // GNU.sparse.map, in the notation of format 0.1 ("offset,length,offset,length").
  std::map<std::string, std::string, std::less<>> records;
  // No record but `comment`s was there.
  bool only_comments = true;

  // Null when absent or empty: an empty value gives way to the plain header's.
  const std::string* find(std::string_view key) const;
  // True if a key starts with `prefix`.
  bool has_prefix(std::string_view prefix) const;
};

// kCorrupt when a record isn't framed as its length says, has no key, or holds a NUL in its key or in a path.
Result<PaxHeader> parse_pax(std::string_view text);

// Digits only, at least one, below 2^64.
std::optional<uint64_t> parse_decimal(std::string_view text);

// A time as PAX writes it, split into whole seconds (the floor) and the rest.
struct Timestamp {
  int64_t seconds;
  uint32_t nanoseconds;
};
// An optional minus, digits, and optionally a point with any number of digits, of which nine count. So "-1.5"
// is -2 s + 500000000 ns. nullopt for anything else.
std::optional<Timestamp> parse_pax_time(std::string_view text);

// SCHILY.xattr.NAME (raw value) and LIBARCHIVE.xattr.NAME (name percent-encoded, value in base64); the first
// wins. kCorrupt when an encoding is broken, kRefused when a name is empty.
Result<std::map<std::string, std::string>> pax_xattrs(const PaxHeader& pax);

}  // namespace seekable::tar
