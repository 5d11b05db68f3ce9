// A tar, entry by entry: ustar, PAX, GNU long names, base-256 numbers, all four GNU sparse forms, xattrs.
// Nothing here knows what a layer or a whiteout is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"

namespace seekable::tar {

enum class EntryType : uint8_t { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };

// `length` bytes of the file at `file_offset` lie at `source_offset` of the tar.
struct DataRange {
  uint64_t file_offset;
  uint64_t source_offset;
  uint64_t length;
};

struct Entry {
  EntryType type = EntryType::kFile;
  std::string name;          // raw bytes as the tar has them, a trailing slash kept; never with a NUL
  std::string target;        // of links, raw
  uint16_t permissions = 0;  // mode & 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;        // floor of the seconds
  uint32_t mtime_nsec = 0;  // truncated to nanoseconds
  uint32_t device_major = 0;
  uint32_t device_minor = 0;
  uint64_t size = 0;            // of the file, holes included
  std::vector<DataRange> data;  // rising, disjoint; one range unless sparse; none when size is 0
  std::map<std::string, std::string> xattrs;
};

// Reads headers with read_at and never touches file data, so a source may be far larger than memory.
class Reader {
 public:
  // The source outlives the reader.
  explicit Reader(const ByteSource& source);
  ~Reader();
  // The next entry; nullopt at the end of the archive. Errors name the entry and the offset of its header.
  Result<std::optional<Entry>> next();
  // What was tolerated so far, one line each ("entry NAME: …"); at most a hundred are kept, then a count.
  const std::vector<std::string>& warnings() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace seekable::tar
