#include "sys/identity.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>

namespace seekable::sys {

namespace {

// statx(2): stat(2) and its kin would ask for glibc 2.33.
std::optional<FileStatus> status(int descriptor, const char* name, int flags) {
  struct statx found {};
  constexpr unsigned kWanted = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO;
  if (statx(descriptor, name, flags | AT_SYMLINK_NOFOLLOW, kWanted, &found) != 0) return std::nullopt;
  return FileStatus{.identity = {.device = (uint64_t{found.stx_dev_major} << 32) | found.stx_dev_minor,
                                 .inode = found.stx_ino},
                    .mode = found.stx_mode,
                    .links = found.stx_nlink};
}

}  // namespace

bool FileStatus::is_folder() const { return S_ISDIR(mode); }

std::optional<FileStatus> status_of(int descriptor) {
  if (descriptor < 0) return std::nullopt;  // errno is that of the call that gave none
  return status(descriptor, "", AT_EMPTY_PATH);
}

std::optional<FileStatus> status_at(int folder, const char* name) { return status(folder, name, 0); }

bool is_empty(int folder) {
  DIR* stream = fdopendir(openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stream == nullptr) return false;
  bool empty = true;
  while (const dirent* entry = readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") empty = false;
  }
  closedir(stream);
  return empty;
}

}  // namespace seekable::sys
