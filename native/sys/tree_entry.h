// What a TreeWriter makes, and what it could not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/io.h"

namespace seekable::sys {

struct TreeEntry {
  enum class Kind { kFile, kFolder, kSymlink, kHardLink, kCharacter, kBlock, kFifo, kSocket };
  struct Xattr {
    std::string name;
    std::string value;
  };
  // A file's bytes from `offset`: those in memory, or else `length` bytes of a source. What no piece covers
  // is a hole.
  struct Piece {
    uint64_t offset = 0;
    Bytes bytes = {};
    std::shared_ptr<const ByteSource> source = nullptr;
    uint64_t address = 0;
    uint64_t length = 0;
  };

  Kind kind = Kind::kFile;
  // From the root folder, names joined by one slash; empty: the root folder itself.
  std::string path;
  // Permissions with setuid, setgid and sticky.
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  // A symbolic link's text; the path that a hard link is another name of.
  std::string target;
  std::vector<Xattr> xattrs;
  // Of a file. Its pieces may come with several entries of the same path, one after the other.
  uint64_t size = 0;
  std::vector<Piece> pieces;
  bool begins = true;
  bool ends = true;
};

// Something that this user or this file system can't have: `path` is without `subject`. "device": without the
// entry.
struct TreeNotice {
  std::string path;
  std::string subject;  // "device", "owner", or an xattr's name
  std::string why;
};

}  // namespace seekable::sys
