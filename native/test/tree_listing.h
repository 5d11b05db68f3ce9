// A tree as text, one line a path, for comparing whole trees in tests.
#pragma once

#include <openssl/sha.h>
#include <sys/stat.h>

#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/io.h"
#include "base/text.h"
#include "erofs/tree.h"

namespace seekable::test {

inline std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

// All bytes of a regular file, holes as zeros.
inline std::string content(const erofs::Tree& tree, const erofs::Inode& inode, const ByteSource& source) {
  std::string bytes(inode.size, '\0');
  erofs::Extent whole;
  for (const erofs::Extent& extent : tree.extents_of(inode, whole)) {
    auto* to = reinterpret_cast<uint8_t*>(bytes.data()) + extent.file_offset;
    if (!source.read_at(extent.source_offset, {to, extent.length}).ok()) return "unreadable";
  }
  return bytes;
}

class TreeListing {
 public:
  TreeListing(const erofs::Tree& tree, const ByteSource& source) : tree_(tree), source_(source) {}

  // Sorted by path. "PATH: TYPE MODE UID:GID SECONDS.NANOSECONDS nlink N", then by type `size N sha256 …`,
  // `-> TARGET` or `MAJOR:MINOR`, then `= PATH` of an earlier name of the same inode, then `NAME=HEX` per
  // xattr.
  std::string text() {
    add("", erofs::Tree::kRoot);
    std::string all;
    for (const auto& [path, line] : lines_) all += line;
    return all;
  }

 private:
  void add(const std::string& path, erofs::InodeId id) {
    lines_[path] = line(path.empty() ? "/" : path, id) + "\n";
    const erofs::Inode& inode = tree_.inodes[id];
    if (!S_ISDIR(inode.mode)) return;
    for (const erofs::Name& name : tree_.names_in(tree_.directory(inode))) {
      add(path + "/" + std::string(name.text.view()), name.inode);
    }
  }

  std::string line(const std::string& path, erofs::InodeId id) {
    const erofs::Inode& inode = tree_.inodes[id];
    char numbers[128];
    std::snprintf(numbers, sizeof numbers, "%04o %u:%u %lld.%09u nlink %u", inode.mode & 07777, inode.uid,
                  inode.gid, static_cast<long long>(inode.mtime), inode.mtime_nsec, inode.nlink);
    std::string text = printable(path) + ": " + type(inode.mode) + " " + numbers + detail(inode);
    const auto [first, is_first] = first_names_.try_emplace(id, path);
    if (!is_first) text += " = " + printable(first->second);
    const erofs::Xattrs* xattrs = tree_.xattrs_of(inode);
    if (xattrs == nullptr) return text;
    for (const auto& [name, value] : *xattrs) text += " " + printable(name) + "=" + hex(value);
    return text;
  }

  std::string detail(const erofs::Inode& inode) {
    if (S_ISREG(inode.mode)) {
      const std::string bytes = content(tree_, inode, source_);
      unsigned char digest[SHA256_DIGEST_LENGTH];
      SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
      const std::string_view raw(reinterpret_cast<const char*>(digest), sizeof digest);
      return " size " + std::to_string(inode.size) + " sha256 " + hex(raw);
    }
    if (S_ISLNK(inode.mode)) return " -> " + printable(tree_.target(inode));
    if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) {
      const erofs::Device device = tree_.device(inode);
      return " " + std::to_string(device.major) + ":" + std::to_string(device.minor);
    }
    return "";
  }

  static const char* type(uint16_t mode) {
    switch (mode & S_IFMT) {
      case S_IFREG: return "file";
      case S_IFDIR: return "dir";
      case S_IFLNK: return "symlink";
      case S_IFCHR: return "chr";
      case S_IFBLK: return "blk";
      case S_IFIFO: return "fifo";
      default: return "unknown";
    }
  }

  const erofs::Tree& tree_;
  const ByteSource& source_;
  std::map<std::string, std::string> lines_;
  std::map<erofs::InodeId, std::string> first_names_;
};

inline std::string list_tree(const erofs::Tree& tree, const ByteSource& source) {
  return TreeListing(tree, source).text();
}

}  // namespace seekable::test
