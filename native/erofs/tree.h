// The file system to be written: what a layer's tar means, before anything of EROFS is decided.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace seekable::erofs {

// Index into Tree::inodes.
using InodeId = uint32_t;

// `length` bytes of a file at `file_offset` lie at `source_offset` of the tar. What no extent covers is a
// hole.
struct Extent {
  uint64_t file_offset;
  uint64_t source_offset;
  uint64_t length;
};

// Full name ("user.k") → value; sorted, so that images are reproducible.
using Xattrs = std::map<std::string, std::string>;

// Name → inode, sorted by unsigned bytes as EROFS wants it; without "." and "..".
struct Directory {
  std::map<std::string, InodeId, std::less<>> entries;
  InodeId parent = 0;  // of the root: itself
};

struct Inode {
  uint16_t mode = 0;  // st_mode: type and permissions
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;  // seconds, may be negative
  uint32_t mtime_nsec = 0;
  uint32_t nlink = 1;  // names of this inode; of a directory: 2 + its subdirectories
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  uint64_t size = 0;               // regular files: bytes, holes included; symlinks: of the target; else 0
  std::vector<Extent> extents;     // regular files: rising, disjoint, within size, never empty
  std::string target;              // symlinks: 1..4095 bytes, no NUL
  std::unique_ptr<Xattrs> xattrs;  // null if none
  std::unique_ptr<Directory> directory;  // directories only
};

struct Tree {
  static constexpr InodeId kRoot = 0;
  // Inodes that no directory names any more (replaced entries) are allowed: nothing is written for them.
  std::vector<Inode> inodes;
  // Base time of compact inodes: the most common whole second among entries (docs/format/tar-policy.md).
  int64_t epoch = 0;
};

}  // namespace seekable::erofs
