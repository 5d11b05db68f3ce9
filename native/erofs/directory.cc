#include "erofs/directory.h"

#include <sys/stat.h>

namespace seekable::erofs {

namespace {

constexpr std::string_view kDots[] = {".", ".."};

}  // namespace

FileType file_type(uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return FileType::kRegular;
    case S_IFDIR: return FileType::kDirectory;
    case S_IFCHR: return FileType::kCharacterDevice;
    case S_IFBLK: return FileType::kBlockDevice;
    case S_IFIFO: return FileType::kFifo;
    case S_IFSOCK: return FileType::kSocket;
    case S_IFLNK: return FileType::kSymlink;
    default: return FileType::kUnknown;
  }
}

DirectoryContent directory_content(const Tree& tree, InodeId id) {
  const Directory& directory = tree.directory(tree.inodes[id]);
  return {id, directory.parent, tree.names_in(directory)};
}

// Names such as "+x" come before ".", and names such as ".-x" between "." and "..".
bool DirectoryCursor::at_dot(const DirectoryContent& directory) const {
  return dots_ < 2 && (next_ == directory.names.size() || kDots[dots_] < directory.names[next_].text.view());
}

std::string_view DirectoryCursor::name(const DirectoryContent& directory) const {
  return at_dot(directory) ? kDots[dots_] : directory.names[next_].text.view();
}

InodeId DirectoryCursor::target(const DirectoryContent& directory) const {
  if (!at_dot(directory)) return directory.names[next_].inode;
  return dots_ == 0 ? directory.self : directory.parent;
}

void DirectoryCursor::advance(const DirectoryContent& directory) {
  if (at_dot(directory)) {
    ++dots_;
  } else {
    ++next_;
  }
}

Result<uint64_t> plan_directory(const DirectoryContent& directory, uint32_t block_size,
                                std::vector<DirectoryBlock>& blocks) {
  uint64_t full_blocks = 0;
  uint32_t used = 0;
  blocks.push_back({DirectoryCursor(), 0});
  for (DirectoryCursor cursor; !cursor.at_end(directory); cursor.advance(directory)) {
    const std::string_view name = cursor.name(directory);
    if (name.empty() || name.size() > kMaxNameLength) {
      return unsupported(std::string(name), "a name of " + std::to_string(name.size()) +
                                                " bytes; EROFS holds 1 to " + std::to_string(kMaxNameLength));
    }
    const uint32_t need = static_cast<uint32_t>(sizeof(Dirent) + name.size());
    if (used + need > block_size) {
      blocks.push_back({cursor, 0});
      used = 0;
      ++full_blocks;
    }
    used += need;
    ++blocks.back().count;
  }
  return full_blocks * block_size + used;
}

}  // namespace seekable::erofs
