#include "sys/entry_attributes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace seekable::sys {

namespace {

void set_times(const TreeEntry& entry, timespec (&times)[2]) {
  times[0] = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  times[1] = {.tv_sec = static_cast<time_t>(entry.seconds), .tv_nsec = static_cast<long>(entry.nanoseconds)};
}

}  // namespace

std::string path_of(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

void take_notice(TreeNotices& notices, const TreeEntry& entry, std::string subject) {
  notices.push_back({entry.path, std::move(subject), std::strerror(errno)});
}

int set_open_attributes(int descriptor, const TreeEntry& entry, bool owners, TreeNotices& notices) {
  if (owners && fchown(descriptor, entry.uid, entry.gid) != 0) take_notice(notices, entry, "owner");
  if (fchmod(descriptor, entry.mode) != 0) return errno;
  for (const auto& [name, value] : entry.xattrs) {
    if (fsetxattr(descriptor, name.c_str(), value.data(), value.size(), 0) != 0)
      take_notice(notices, entry, name);
  }
  timespec times[2];
  set_times(entry, times);
  return futimens(descriptor, times) == 0 ? 0 : errno;
}

int set_handle_attributes(int handle, const TreeEntry& entry, bool owners, TreeNotices& notices) {
  const std::string path = path_of(handle);
  if (owners && fchownat(handle, "", entry.uid, entry.gid, AT_EMPTY_PATH) != 0) {
    take_notice(notices, entry, "owner");
  }
  if (entry.kind != TreeEntry::Kind::kSymlink && chmod(path.c_str(), entry.mode) != 0) return errno;
  for (const auto& [key, value] : entry.xattrs) {
    if (setxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) != 0)
      take_notice(notices, entry, key);
  }
  timespec times[2];
  set_times(entry, times);
  return utimensat(AT_FDCWD, path.c_str(), times, 0) == 0 ? 0 : errno;
}

}  // namespace seekable::sys
