// Directory data: blocks of entries sorted by name, "." and ".." included.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/format.h"
#include "erofs/tree.h"

namespace seekable::erofs {

// The type that a directory entry names, of a st_mode.
FileType file_type(uint16_t mode);

// What a directory lists.
struct DirectoryContent {
  InodeId self;
  InodeId parent;
  std::span<const Name> names;  // sorted
};

// REQUIRES: `id` is a directory.
DirectoryContent directory_content(const Tree& tree, InodeId id);

// A place in the sorted sequence of all entries of a directory, "." and ".." merged in.
class DirectoryCursor {
 public:
  bool at_end(const DirectoryContent& directory) const {
    return dots_ == 2 && next_ == directory.names.size();
  }
  // REQUIRES of both: not at_end().
  std::string_view name(const DirectoryContent& directory) const;
  InodeId target(const DirectoryContent& directory) const;
  void advance(const DirectoryContent& directory);

 private:
  bool at_dot(const DirectoryContent& directory) const;

  uint32_t next_ = 0;  // of the names
  uint8_t dots_ = 0;   // how many of "." and ".." are behind
};

// One block of a directory, so that the writer can start in the middle of a large one.
struct DirectoryBlock {
  DirectoryCursor first;
  uint16_t count;  // of entries
};

// Appends the blocks of `directory`, filled greedily, and returns its i_size: whole blocks, then what the
// last one uses. kUnsupported for a name that EROFS cannot hold; `what` of that error is the name.
Result<uint64_t> plan_directory(const DirectoryContent& directory, uint32_t block_size,
                                std::vector<DirectoryBlock>& blocks);

// What the entries of a block say of an inode.
struct DirentTarget {
  uint64_t nid;
  FileType type;
};

// Fills `out`, one whole block, padding included. `target_of` tells what an inode's entry says.
template <typename TargetOf>
void write_directory_block(const DirectoryContent& directory, const DirectoryBlock& block,
                           const TargetOf& target_of, MutableBytes out) {
  DirectoryCursor cursor = block.first;
  size_t dirent_offset = 0;
  size_t name_offset = block.count * sizeof(Dirent);
  for (uint16_t i = 0; i < block.count; ++i, cursor.advance(directory)) {
    const std::string_view name = cursor.name(directory);
    const DirentTarget target = target_of(cursor.target(directory));
    const Dirent dirent{target.nid, static_cast<uint16_t>(name_offset), target.type, 0};
    std::memcpy(&out[dirent_offset], &dirent, sizeof dirent);
    std::memcpy(&out[name_offset], name.data(), name.size());
    dirent_offset += sizeof dirent;
    name_offset += name.size();
  }
  std::memset(out.data() + name_offset, 0, out.size() - name_offset);
}

}  // namespace seekable::erofs
