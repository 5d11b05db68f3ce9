// The file system to be written: what a layer's tar means, before anything of EROFS is decided. A layer may
// have millions of inodes, so what few of them have lies in tables beside them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/text_pool.h"

namespace seekable::erofs {

using InodeId = uint32_t;      // index into Tree::inodes
using DirectoryId = uint32_t;  // index into Tree::directories

// `length` bytes of a file at `file_offset` lie at `source_offset` of the tar. What no extent covers is a
// hole.
struct Extent {
  uint64_t file_offset;
  uint64_t source_offset;
  uint64_t length;
};

// Full name ("user.k") → value; sorted, so that images are reproducible.
using Xattrs = std::map<std::string, std::string>;

// A name in a directory; never "." or "..".
struct Name {
  PooledText text;
  DirectoryId directory;
  InodeId inode;
};

struct Directory {
  InodeId parent = 0;  // of the root: itself
  uint32_t first = 0;  // of its names in Tree::names, set by sort_names()
  uint32_t count = 0;
};

struct Device {
  uint32_t major;
  uint32_t minor;
};

struct Inode {
  static constexpr uint32_t kNoXattrs = UINT32_MAX;
  // Where the bytes of a regular file are: nowhere (it is empty, or one hole), in one piece, or in extents.
  enum class Data : uint8_t { kNone, kWhole, kExtents };

  int64_t mtime = 0;     // seconds, may be negative
  uint64_t size = 0;     // regular files: bytes, holes included; symlinks: of the target; else 0
  uint64_t content = 0;  // kWhole: offset in the tar; else an index into the table of its type
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t mtime_nsec = 0;
  uint32_t nlink = 1;           // names of this inode; of a directory: 2 + its subdirectories
  uint32_t xattrs = kNoXattrs;  // index into Tree::xattrs
  uint16_t mode = 0;            // st_mode: type and permissions
  Data data = Data::kNone;
};
static_assert(sizeof(Inode) == 48);

struct Tree {
  static constexpr InodeId kRoot = 0;
  // Inodes that no directory names any more (replaced entries) are allowed: nothing is written for them.
  std::vector<Inode> inodes;
  std::vector<Name> names;  // after sort_names(): by directory, then by unsigned bytes as EROFS wants it
  std::vector<Directory> directories;
  std::vector<std::vector<Extent>> extents;  // of a file: rising, disjoint, within its size, never empty
  std::vector<PooledText> targets;           // of symlinks: 1..4095 bytes, no NUL
  std::vector<Device> devices;
  std::vector<Xattrs> xattrs;
  TextPool texts;
  // Base time of compact inodes: the most common whole second among entries (docs/format/tar-policy.md).
  int64_t epoch = 0;

  // Make an inode what its mode says. `extents` are as above; inode.size is set already.
  void set_data(Inode& inode, std::vector<Extent> extents);
  void set_target(Inode& inode, std::string_view target);
  void set_device(Inode& inode, Device device);
  void set_directory(Inode& inode, InodeId parent);
  // Those of `inode`, made if it has none.
  Xattrs& make_xattrs(Inode& inode);

  // Null if it has none.
  const Xattrs* xattrs_of(const Inode& inode) const;
  // REQUIRE: the inode is one.
  const Directory& directory(const Inode& inode) const { return directories[inode.content]; }
  std::string_view target(const Inode& inode) const { return targets[inode.content].view(); }
  Device device(const Inode& inode) const { return devices[inode.content]; }
  // Of a regular file; `whole` is where that of a file in one piece is put.
  std::span<const Extent> extents_of(const Inode& inode, Extent& whole) const;

  // Groups the names by directory and sorts them. What follows REQUIRES it.
  void sort_names();
  std::span<const Name> names_in(const Directory& directory) const {
    return std::span(names).subspan(directory.first, directory.count);
  }
  // The inode called `name`. REQUIRES: `directory` is one.
  std::optional<InodeId> child(InodeId directory, std::string_view name) const;
  // A path of an inode that has one: "a/b", of the root "". Slow, as nothing leads from an inode to its
  // names: for errors. REQUIRES: link counts are right.
  std::string path_of(InodeId id) const;

 private:
  // The name of `id` in `directory`; "" if it has none there.
  std::string name_in(InodeId directory, InodeId id) const;
};

}  // namespace seekable::erofs
