// Reads whole tars for tests.
#pragma once

#include <string>
#include <vector>

#include "base/io.h"
#include "tar/reader.h"

namespace seekable::test {

// What a reader makes of a tar: the entries before the end or the first error.
struct TarReading {
  std::vector<tar::Entry> entries;
  std::vector<std::string> warnings;
  Error error{};  // meaningful if `failed`
  bool failed = false;
  std::string names() const {
    std::string text;
    for (const tar::Entry& entry : entries) text += entry.name + "|";
    return text;
  }
  // "WHAT: WHY", or "".
  std::string message() const { return failed ? error.what + ": " + error.why : ""; }
};

inline TarReading read_tar(const std::string& bytes) {
  const MemorySource source(as_bytes(bytes));
  tar::Reader reader(source);
  TarReading reading;
  while (true) {
    Result<std::optional<tar::Entry>> next = reader.next();
    if (!next.ok()) {
      reading.failed = true;
      reading.error = next.error();
      break;
    }
    if (!next.value()) break;
    reading.entries.push_back(std::move(*next.value()));
  }
  reading.warnings = reader.warnings();
  return reading;
}

// The file's bytes, holes filled.
inline std::string contents(const std::string& tar, const tar::Entry& entry) {
  std::string bytes(entry.size, '\0');
  for (const tar::DataRange& range : entry.data) {
    bytes.replace(range.file_offset, range.length, tar.substr(range.source_offset, range.length));
  }
  return bytes;
}

}  // namespace seekable::test
