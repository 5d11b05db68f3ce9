// The tar reader on anything: no crash, and entries that hold what reader.h promises.
#include <string>

#include "tar/header.h"
#include "tar/reader.h"
#include "test/fuzz/require.h"

namespace seekable {
namespace {

using fuzz::require;

// Makes blocks with ustar's magic pass as headers, or few inputs would get past the checksum.
void repair_checksums(std::string& bytes) {
  for (size_t block = 0; block + tar::kBlockSize <= bytes.size(); block += tar::kBlockSize) {
    if (bytes.compare(block + 257, 5, "ustar") != 0) continue;
    bytes.replace(block + 148, 8, "        ");
    unsigned sum = 0;
    for (size_t i = 0; i < tar::kBlockSize; ++i) sum += static_cast<unsigned char>(bytes[block + i]);
    for (size_t digit = 6; digit > 0; --digit, sum /= 8) {
      bytes[block + 147 + digit] = static_cast<char>('0' + sum % 8);
    }
  }
}

void check(const tar::Entry& entry, uint64_t source_size) {
  require(entry.name.find('\0') == std::string::npos && entry.target.find('\0') == std::string::npos);
  require(entry.permissions <= 07777 && entry.mtime_nsec < 1'000'000'000);
  require(entry.uid != UINT32_MAX && entry.gid != UINT32_MAX);
  require(entry.type == tar::EntryType::kFile || (entry.size == 0 && entry.data.empty()));
  uint64_t file_end = 0;
  for (const tar::DataRange& range : entry.data) {
    require(range.length > 0 && range.file_offset >= file_end && range.file_offset <= entry.size);
    require(range.length <= entry.size - range.file_offset);
    require(range.source_offset <= source_size && range.length <= source_size - range.source_offset);
    file_end = range.file_offset + range.length;
  }
}

}  // namespace
}  // namespace seekable

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seekable;
  std::string bytes(reinterpret_cast<const char*>(data), size);
  repair_checksums(bytes);
  const MemorySource source(as_bytes(bytes));
  tar::Reader reader(source);
  for (size_t entries = 0;; ++entries) {
    require(entries <= size / tar::kBlockSize);
    const Result<std::optional<tar::Entry>> next = reader.next();
    if (!next.ok()) {
      fuzz::require_clean(next.error());
      require(!next.error().what.empty());
      break;
    }
    if (!next.value()) break;
    check(*next.value(), size);
  }
  require(reader.warnings().size() <= 101);
  return 0;
}
