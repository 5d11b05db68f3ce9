// A reader of EROFS for tests, as small as it can be: it trusts the image, and shares only the structs of
// format.h with the writer.
#pragma once

#include <sys/stat.h>

#include <string>
#include <vector>

#include "erofs/format.h"
#include "test/erofs_trees.h"

namespace seekable::erofs::test {

class Reader {
 public:
  explicit Reader(const std::vector<uint8_t>& image) : image_(image) {
    superblock = load<Superblock>(kSuperblockOffset);
    block_size = 1U << superblock.block_bits;
  }

  struct Node {
    uint64_t body_offset;
    uint64_t xattr_offset;
    Layout layout;
    uint32_t body;
    PlainInode inode;  // what the image says of it; no extents
    uint64_t size;
    uint32_t ino;
    bool extended;
  };

  Node node(uint64_t nid) const {
    const uint64_t offset = nid * kSlotSize;
    const uint16_t format = load<uint16_t>(offset);
    Node node{};
    node.extended = (format & kExtendedInode) != 0;
    node.layout = static_cast<Layout>(format >> kLayoutShift);
    if (node.extended) {
      fill(node, load<ExtendedInode>(offset));
      node.inode.mtime = load<ExtendedInode>(offset).mtime;
      node.inode.mtime_nsec = load<ExtendedInode>(offset).mtime_nsec;
    } else {
      fill(node, load<CompactInode>(offset));
      node.inode.mtime = superblock.epoch + load<CompactInode>(offset).mtime_delta;
      node.inode.mtime_nsec = superblock.fixed_nsec;
    }
    node.xattr_offset = offset + (node.extended ? 64 : 32);
    const uint16_t count = load<uint16_t>(offset + 2);
    const uint64_t xattr_size = count == 0 ? 0 : 12 + 4 * (count - 1);
    node.body_offset = node.xattr_offset + xattr_size;
    if (count > 0) read_xattrs(node);
    return node;
  }

  std::string data(const Node& node) const {
    std::string result(node.size, '\0');
    const uint64_t chunk_size =
        node.layout == Layout::kChunked ? uint64_t{block_size} << node.body : block_size;
    for (uint64_t at = 0; at < node.size; at += chunk_size) {
      const uint64_t length = std::min(chunk_size, node.size - at);
      uint64_t from = uint64_t{node.body} * block_size + at;
      if (node.layout == Layout::kInline && length < block_size) from = node.body_offset;
      if (node.layout == Layout::kChunked) {
        const uint32_t block = load<uint32_t>(node.body_offset + at / chunk_size * 4);
        if (block == kNoBlock) continue;
        from = uint64_t{block} * block_size;
      }
      result.replace(at, length, text(from, length));
    }
    return result;
  }

  struct Entry {
    std::string name;
    uint64_t nid;
    FileType type;
  };
  std::vector<Entry> entries(const Node& node) const {
    std::vector<Entry> result;
    const std::string all = data(node);
    for (size_t at = 0; at < all.size(); at += block_size) {
      const std::string block = all.substr(at, block_size);
      const auto dirent = [&](size_t i) {
        Dirent value;
        std::memcpy(&value, block.data() + i * sizeof value, sizeof value);
        return value;
      };
      const size_t count = dirent(0).name_offset / sizeof(Dirent);
      for (size_t i = 0; i < count; ++i) {
        const size_t end = i + 1 < count ? dirent(i + 1).name_offset : block.size();
        std::string name = block.substr(dirent(i).name_offset, end - dirent(i).name_offset);
        if (i + 1 == count) name = name.c_str();  // padding follows
        result.push_back({name, dirent(i).nid, dirent(i).type});
      }
    }
    return result;
  }

  Superblock superblock;
  uint32_t block_size;

 private:
  template <typename T>
  T load(uint64_t offset) const {
    T value;
    std::memcpy(&value, &image_.at(offset + sizeof value - 1) - (sizeof value - 1), sizeof value);
    return value;
  }
  std::string text(uint64_t offset, uint64_t length) const {
    if (length == 0) return {};
    return {reinterpret_cast<const char*>(&image_.at(offset + length - 1)) - (length - 1), length};
  }

  template <typename OnDisk>
  static void fill(Node& node, const OnDisk& raw) {
    node.inode.mode = raw.mode;
    node.inode.uid = raw.uid;
    node.inode.gid = raw.gid;
    node.inode.nlink = raw.nlink;
    node.size = raw.size;
    node.body = raw.body;
    node.ino = raw.ino;
    if (S_ISCHR(raw.mode) || S_ISBLK(raw.mode)) {
      node.inode.rdev_major = (raw.body >> 8) & 0xFFF;
      node.inode.rdev_minor = (raw.body & 0xFF) | (raw.body >> 20) << 8;
    }
  }

  void read_xattrs(Node& node) const {
    node.inode.xattrs.emplace();
    const uint8_t shared = load<XattrHeader>(node.xattr_offset).shared_count;
    uint64_t at = node.xattr_offset + sizeof(XattrHeader);
    for (int i = 0; i < shared; ++i, at += 4) read_xattr(node, uint64_t{load<uint32_t>(at)} * 4);
    while (at < node.body_offset) at = read_xattr(node, at);
  }

  uint64_t read_xattr(Node& node, uint64_t at) const {
    static const char* const kNames[] = {
        "", "user.", "system.posix_acl_access", "system.posix_acl_default", "trusted.", "", "security."};
    const XattrEntry entry = load<XattrEntry>(at);
    const uint64_t value = at + sizeof entry + entry.name_length;
    const std::string name = kNames[entry.name_index] + text(at + sizeof entry, entry.name_length);
    (*node.inode.xattrs)[name] = text(value, entry.value_size);
    return (value + entry.value_size + 3) / 4 * 4;
  }

  const std::vector<uint8_t>& image_;
};

}  // namespace seekable::erofs::test
