// Trees built by hand, and the bytes that their files are made of.
#pragma once

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/io.h"
#include "erofs/tree.h"

namespace seekable::erofs::test {

// A tree as plain as it can be, to build by hand and to compare with: each inode has all that it may have.
struct PlainDirectory {
  std::map<std::string, InodeId> entries;
  InodeId parent = Tree::kRoot;
};

struct PlainInode {
  uint16_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t mtime = 0;
  uint32_t mtime_nsec = 0;
  uint32_t nlink = 1;
  uint32_t rdev_major = 0;
  uint32_t rdev_minor = 0;
  uint64_t size = 0;
  std::vector<Extent> extents;
  std::string target;
  std::optional<Xattrs> xattrs;
  std::optional<PlainDirectory> directory;
};

struct PlainTree {
  std::vector<PlainInode> inodes;
  int64_t epoch = 0;
};

inline Inode add_inode(const PlainInode& plain, Tree& tree) {
  Inode inode{.mtime = plain.mtime,
              .size = plain.size,
              .uid = plain.uid,
              .gid = plain.gid,
              .mtime_nsec = plain.mtime_nsec,
              .nlink = plain.nlink,
              .mode = plain.mode};
  if (S_ISREG(plain.mode)) tree.set_data(inode, plain.extents);
  if (S_ISLNK(plain.mode)) tree.set_target(inode, plain.target);
  if (S_ISCHR(plain.mode) || S_ISBLK(plain.mode)) {
    tree.set_device(inode, {plain.rdev_major, plain.rdev_minor});
  }
  if (plain.xattrs) tree.make_xattrs(inode) = *plain.xattrs;
  return inode;
}

// The same tree as the planner takes it.
inline Tree to_tree(const PlainTree& plain) {
  Tree tree;
  tree.epoch = plain.epoch;
  for (InodeId id = 0; id < plain.inodes.size(); ++id) {
    Inode inode = add_inode(plain.inodes[id], tree);
    if (const auto& directory = plain.inodes[id].directory) {
      tree.set_directory(inode, directory->parent);
      for (const auto& [name, child] : directory->entries) {
        tree.names.push_back({tree.texts.add(name), static_cast<DirectoryId>(inode.content), child});
      }
    }
    tree.inodes.push_back(inode);
  }
  // Whatever their order: sort_names() has to bring them into the right one.
  std::shuffle(tree.names.begin(), tree.names.end(), std::mt19937(7));
  tree.sort_names();
  return tree;
}

// A tree under construction. The source of its files is random, and never the same for two of them.
class TreeBuilder {
 public:
  TreeBuilder() {
    PlainInode& root = tree.inodes.emplace_back();
    root.mode = S_IFDIR | 0755;
    root.nlink = 2;
    root.directory.emplace();
  }

  PlainInode& operator[](InodeId id) { return tree.inodes[id]; }

  InodeId add(InodeId parent, const std::string& name, uint16_t mode) {
    const InodeId id = static_cast<InodeId>(tree.inodes.size());
    tree.inodes.emplace_back().mode = mode;
    tree.inodes[parent].directory->entries[name] = id;
    return id;
  }
  InodeId directory(InodeId parent, const std::string& name) {
    const InodeId id = add(parent, name, S_IFDIR | 0750);
    tree.inodes[id].directory.emplace().parent = parent;
    tree.inodes[id].nlink = 2;
    ++tree.inodes[parent].nlink;
    return id;
  }
  InodeId file(InodeId parent, const std::string& name, uint64_t size) {
    return sparse_file(parent, name, size, {{0, size}});
  }
  // `pieces`: offset in the file and length; what they leave out is a hole.
  InodeId sparse_file(InodeId parent, const std::string& name, uint64_t size,
                      const std::vector<std::pair<uint64_t, uint64_t>>& pieces) {
    const InodeId id = add(parent, name, S_IFREG | 0644);
    tree.inodes[id].size = size;
    for (const auto& [offset, length] : pieces) {
      if (length > 0) tree.inodes[id].extents.push_back({offset, add_source(length), length});
    }
    return id;
  }
  InodeId symlink(InodeId parent, const std::string& name, const std::string& target) {
    const InodeId id = add(parent, name, S_IFLNK | 0777);
    tree.inodes[id].target = target;
    tree.inodes[id].size = target.size();
    return id;
  }
  InodeId device(InodeId parent, const std::string& name, uint16_t mode, uint32_t major, uint32_t minor) {
    const InodeId id = add(parent, name, mode);
    tree.inodes[id].rdev_major = major;
    tree.inodes[id].rdev_minor = minor;
    return id;
  }
  void hard_link(InodeId parent, const std::string& name, InodeId id) {
    tree.inodes[parent].directory->entries[name] = id;
    ++tree.inodes[id].nlink;
  }
  void xattr(InodeId id, const std::string& name, const std::string& value) {
    if (!tree.inodes[id].xattrs) tree.inodes[id].xattrs.emplace();
    (*tree.inodes[id].xattrs)[name] = value;
  }

  PlainTree tree;
  std::vector<uint8_t> source;

 private:
  uint64_t add_source(uint64_t length) {
    source.resize(source.size() + random_() % 700);  // extents of a tar start anywhere
    const uint64_t offset = source.size();
    for (uint64_t i = 0; i < length; ++i) source.push_back(static_cast<uint8_t>(random_()));
    return offset;
  }

  std::mt19937 random_{1};
};

// Bytes [from, from + length) of a file.
inline std::string file_content(const PlainInode& inode, const std::vector<uint8_t>& source, uint64_t from,
                                uint64_t length) {
  std::string content(length, '\0');
  for (const Extent& extent : inode.extents) {
    const uint64_t begin = std::max(from, extent.file_offset);
    const uint64_t end = std::min(from + length, extent.file_offset + extent.length);
    for (uint64_t i = begin; i < end; ++i) {
      content[i - from] = static_cast<char>(source[extent.source_offset + (i - extent.file_offset)]);
    }
  }
  return content;
}

inline std::string acl_value() {
  std::string value("\2\0\0\0", 4);
  value += std::string("\1\0\7\0\xFF\xFF\xFF\xFF", 8);
  value += std::string("\2\0\6\0\x7B\0\0\0", 8);
  value += std::string("\4\0\5\0\xFF\xFF\xFF\xFF", 8);
  value += std::string("\x10\0\7\0\xFF\xFF\xFF\xFF", 8);
  value += std::string("\x20\0\4\0\xFF\xFF\xFF\xFF", 8);
  return value;
}

// Returns the largest.
inline InodeId add_files(TreeBuilder& b) {
  const InodeId files = b.directory(Tree::kRoot, "files");
  for (const uint64_t size : {0, 1, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 4096 + 100, 4096 + 600}) {
    const InodeId id = b.file(files, "size-" + std::to_string(size), size);
    b[id].mtime = b.tree.epoch;
  }
  const InodeId big = b.file(files, "mebibyte", (1 << 20) + 100);
  b.sparse_file(files, "touching", 9000, {{0, 100}, {100, 5000}, {5100, 3900}});
  return big;
}

inline void add_sparse_files(TreeBuilder& b) {
  const InodeId sparse = b.directory(Tree::kRoot, "sparse");
  b.sparse_file(sparse, "start", 100000, {{50000, 50000}});
  b.sparse_file(sparse, "middle", 300001, {{0, 70000}, {200000, 100001}});
  b.sparse_file(sparse, "end", 123456, {{0, 5000}});
  b.sparse_file(sparse, "all-hole", 1000000, {});
  b.sparse_file(sparse, "one-byte-hole", 1, {});
  b.sparse_file(sparse, "small-holes", 20000, {{10, 100}, {5000, 9000}, {14050, 5000}});
  std::vector<std::pair<uint64_t, uint64_t>> comb;
  for (uint64_t i = 0; i < 50; ++i) comb.push_back({i * 16384, 4096});
  b.sparse_file(sparse, "comb", 50 * 16384, comb);
  b.sparse_file(sparse, "5g", 5ULL << 30,
                {{0, 10}, {(3ULL << 30) + 12345, 70000}, {(5ULL << 30) - 100, 100}});
  b.sparse_file(sparse, "5g-hole", 5ULL << 30, {});
  b.sparse_file(sparse, "1t", 1ULL << 40, {{1ULL << 39, 3}});
}

inline void add_links(TreeBuilder& b, InodeId big) {
  const InodeId links = b.directory(Tree::kRoot, "links");
  for (const size_t length : {1, 31, 100, 256, 1000, 2000, 3000, 4000, 4030, 4064, 4065, 4090, 4095}) {
    b.symlink(links, "to-" + std::to_string(length), std::string(length, 'x'));
  }
  b.hard_link(links, "hard-big", big);
  b.hard_link(Tree::kRoot, "hard-big", big);
  b.hard_link(links, "hard-link", b[links].directory->entries["to-100"]);
}

inline void add_devices(TreeBuilder& b) {
  const InodeId devices = b.directory(Tree::kRoot, "devices");
  b.device(devices, "null", S_IFCHR | 0666, 1, 3);
  b.device(devices, "whiteout", S_IFCHR, 0, 0);
  b.device(devices, "largest", S_IFBLK | 0600, 4095, 1048575);
  b.device(devices, "minor-256", S_IFBLK | 0600, 8, 256);
  b.add(devices, "fifo", S_IFIFO | 0600);
  b.add(devices, "socket", S_IFSOCK | 0600);
}

inline void add_owners_and_times(TreeBuilder& b) {
  const InodeId owners = b.directory(Tree::kRoot, "owners");
  for (const uint32_t owner : {0U, 65535U, 65536U, 4000000000U}) {
    const InodeId id = b.file(owners, std::to_string(owner), 3);
    b[id].uid = owner;
    b[id].gid = owner / 2;
    b[id].mtime = b.tree.epoch;
    b[id].mode = S_IFREG | 07755;
  }
  const InodeId times = b.directory(Tree::kRoot, "times");
  for (const int64_t time : {-5000000000LL, -2LL, 0LL, 1LL, 1700000000LL, 1LL << 33}) {
    for (const uint32_t nsec : {0U, 999999999U}) {
      const InodeId id = b.file(times, std::to_string(time) + "." + std::to_string(nsec), 9);
      b[id].mtime = time;
      b[id].mtime_nsec = nsec;
    }
  }
}

inline void add_xattrs(TreeBuilder& b) {
  const InodeId attributes = b.directory(Tree::kRoot, "xattrs");
  b.xattr(attributes, "trusted.overlay.opaque", "y");
  b.xattr(attributes, "system.posix_acl_access", acl_value());
  b.xattr(attributes, "system.posix_acl_default", acl_value());
  for (int i = 0; i < 40; ++i) {
    const InodeId id = b.file(attributes, "labelled-" + std::to_string(i), 10 * i);
    b.xattr(id, "security.selinux", "system_u:object_r:container_file_t:s0");
    b.xattr(id, "user.number", std::to_string(i));
    if (i % 3 == 0) b.xattr(id, "system.posix_acl_access", acl_value());
  }
  const InodeId many = b.file(attributes, "many", 700);
  const InodeId also_many = b.file(attributes, "also-many", 300);
  for (int i = 0; i < 300; ++i) {
    b.xattr(many, "user.common-" + std::to_string(i), "shared by both");
    b.xattr(also_many, "user.common-" + std::to_string(i), "shared by both");
  }
  const InodeId large = b.symlink(attributes, "large", "target");
  b.xattr(large, "trusted.large", std::string(60000, 'v'));
  const InodeId odd = b.device(attributes, "odd", S_IFCHR | 0600, 5, 1);
  b.xattr(odd, "security.capability", std::string("\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20));
  b.xattr(odd, "trusted.empty", "");
  b.xattr(odd, "trusted." + std::string(247, 'n'), std::string("\0\n=\xFF", 4));
}

inline void add_names(TreeBuilder& b) {
  const InodeId names = b.directory(Tree::kRoot, "names");
  for (const char* name :
       {"!", "+x", "-", ".-between", ".a", "...", "..a", "\xFF\xFE", "new\nline", "\x01", " "}) {
    b.file(names, name, 5);
  }
  for (int i = 0; i < 60; ++i) b.file(names, std::string(253, 'L') + std::to_string(10 + i), 2);
}

inline void add_directories(TreeBuilder& b, InodeId big, int wide) {
  b.directory(Tree::kRoot, "empty");
  b.file(b.directory(Tree::kRoot, "one"), "only", 7);
  InodeId deep = b.directory(Tree::kRoot, "deep");
  for (int i = 0; i < 200; ++i) deep = b.directory(deep, "d" + std::to_string(i));
  for (const int count : {200, wide / 5}) {
    const InodeId id = b.directory(Tree::kRoot, "wide-" + std::to_string(count));
    for (int i = 0; i < count; ++i) b.file(id, "file-" + std::to_string(i), i % 40);
  }
  const InodeId widest = b.directory(Tree::kRoot, "widest");
  for (int i = 0; i < wide; ++i) b.hard_link(widest, "name-" + std::to_string(i), big);
}

// One of everything that a tree may hold. `wide` is the number of names in its largest directory.
inline TreeBuilder make_everything(int wide) {
  TreeBuilder b;
  b.tree.epoch = 1700000000;
  b[Tree::kRoot].mtime = b.tree.epoch;
  const InodeId big = add_files(b);
  add_sparse_files(b);
  add_links(b, big);
  add_devices(b);
  add_owners_and_times(b);
  add_xattrs(b);
  add_names(b);
  add_directories(b, big, wide);
  b.tree.inodes.emplace_back().mode = S_IFREG;  // replaced in the layer: no directory names it
  return b;
}

}  // namespace seekable::erofs::test
