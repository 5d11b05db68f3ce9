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

// Names such as "+x" come before ".", and names such as ".-x" between "." and "..".
bool DirectoryCursor::at_dot(const Directory& directory) const {
  return dots_ < 2 && (entry_ == directory.entries.end() || kDots[dots_] < entry_->first);
}

std::string_view DirectoryCursor::name(const Directory& directory) const {
  return at_dot(directory) ? kDots[dots_] : std::string_view(entry_->first);
}

InodeId DirectoryCursor::target(const Directory& directory, InodeId self) const {
  if (!at_dot(directory)) return entry_->second;
  return dots_ == 0 ? self : directory.parent;
}

void DirectoryCursor::advance(const Directory& directory) {
  if (at_dot(directory)) {
    ++dots_;
  } else {
    ++entry_;
  }
}

Result<uint64_t> plan_directory(const Directory& directory, uint32_t block_size,
                                std::vector<DirectoryBlock>& blocks) {
  uint64_t full_blocks = 0;
  uint32_t used = 0;
  blocks.push_back({DirectoryCursor(directory), 0});
  for (DirectoryCursor cursor(directory); !cursor.at_end(directory); cursor.advance(directory)) {
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
