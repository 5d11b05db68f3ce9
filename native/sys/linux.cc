#include "sys/linux.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>

#include "base/io.h"

// Not in the headers of the oldest systems that this compiles on; the numbers are those of every
// architecture.
#ifndef SYS_move_mount
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace seekable::sys {

namespace {

// glibc has functions for these since 2.36 only.
constexpr unsigned kCloseOnExec = 1;          // FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC
constexpr unsigned kNoReplace = 1;            // RENAME_NOREPLACE, which musl lacks
constexpr unsigned kMoveFromEmptyPath = 0x4;  // MOVE_MOUNT_F_EMPTY_PATH
constexpr uint64_t kResolveNoSymlinks = 0x4;  // RESOLVE_NO_SYMLINKS

bool is_name(const std::string& name) { return !name.empty() && name.find('/') == std::string::npos; }
int no_name() {
  errno = EINVAL;
  return -1;
}

const char* or_null(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

Status status_of(const char* call, long result) { return result == 0 ? ok() : system_error(call, errno); }

// What the kernel has to say on a descriptor of fsopen(2): a message for each read.
std::string messages_of(int descriptor) {
  std::string messages;
  char line[512];
  for (ssize_t size; (size = read(descriptor, line, sizeof line)) > 0;) {
    std::string_view text(line, static_cast<size_t>(size));
    while (text.ends_with('\n')) text.remove_suffix(1);
    messages.append(": ").append(text);
  }
  return messages;
}

Error with_messages(const char* call, int descriptor) {
  Error error = system_error(call, errno);
  error.why += messages_of(descriptor);
  return error;
}

}  // namespace

Result<bool> try_lock(int descriptor) {
  int status;
  do {
    status = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (status != 0 && errno == EINTR);
  if (status == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return system_error("lock file", errno);
}

Status link_open_file(int descriptor, const std::string& path) {
  const std::string file = "/proc/self/fd/" + std::to_string(descriptor);
  int status = linkat(AT_FDCWD, file.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
  // Without /proc: by the descriptor itself, which before Linux 6.10 takes CAP_DAC_READ_SEARCH.
  if (status != 0 && errno == ENOENT) status = linkat(descriptor, "", AT_FDCWD, path.c_str(), AT_EMPTY_PATH);
  return status_of("link", status);
}

Result<int> ioctl(int descriptor, uint64_t request, uint64_t argument) {
  const int result = ::ioctl(descriptor, request, argument);
  if (result < 0) return system_error("ioctl", errno);
  return result;
}

Result<int> ioctl(int descriptor, uint64_t request, MutableBytes argument) {
  return ioctl(descriptor, request, reinterpret_cast<uint64_t>(argument.data()));
}

Status mount(const Mount& mount) {
  const char* source = or_null(mount.source);
  return status_of(
      "mount", ::mount(source, mount.target.c_str(), or_null(mount.type), mount.flags, or_null(mount.data)));
}

Status unmount(const std::string& target, int flags) {
  return status_of("umount", umount2(target.c_str(), flags));
}

Result<int> open_entry(int folder, const std::string& name, int flags) {
  // The first version of struct open_how, which <linux/openat2.h> is too new for.
  struct {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
  } how{static_cast<uint64_t>(flags) | O_CLOEXEC, 0, kResolveNoSymlinks};
  if (!is_name(name)) return system_error("open", EINVAL);
  long descriptor = syscall(SYS_openat2, folder, name.c_str(), &how, sizeof how);
  if (descriptor < 0 && errno == ENOSYS)
    descriptor = openat(folder, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return system_error("open", errno);
  return static_cast<int>(descriptor);
}

Status make_folder(int folder, const std::string& name, uint32_t mode) {
  return status_of("mkdir", is_name(name) ? mkdirat(folder, name.c_str(), mode) : no_name());
}

Status remove_folder(int folder, const std::string& name) {
  return status_of("rmdir", is_name(name) ? unlinkat(folder, name.c_str(), AT_REMOVEDIR) : no_name());
}

Status rename_entry(int folder, const std::string& from, const std::string& to) {
  if (!is_name(from) || !is_name(to)) return status_of("rename", no_name());
  if (syscall(SYS_renameat2, folder, from.c_str(), folder, to.c_str(), kNoReplace) == 0) return ok();
  if (errno != EINVAL && errno != ENOSYS) return system_error("rename", errno);
  return status_of("rename", renameat(folder, from.c_str(), folder, to.c_str()));
}

Result<int> take_descriptor(int process, int descriptor) {
  const long target = syscall(SYS_pidfd_open, process, 0);
  if (target < 0) return system_error("pidfd_open", errno);
  const long taken = syscall(SYS_pidfd_getfd, target, descriptor, 0);
  const int error_number = errno;
  close(static_cast<int>(target));
  if (taken < 0) return system_error("pidfd_getfd", error_number);
  return static_cast<int>(taken);
}

Result<int> fsopen(const std::string& type) {
  const long descriptor = syscall(SYS_fsopen, type.c_str(), kCloseOnExec);
  if (descriptor < 0) return system_error("fsopen", errno);
  return static_cast<int>(descriptor);
}

Status fsconfig(int descriptor, const Parameter& parameter) {
  const auto& [command, key, value] = parameter;
  if (syscall(SYS_fsconfig, descriptor, command, key, value, 0) == 0) return ok();
  return with_messages("fsconfig", descriptor);
}

Result<int> fsmount(int descriptor, unsigned attributes) {
  const long mount = syscall(SYS_fsmount, descriptor, kCloseOnExec, attributes);
  if (mount < 0) return with_messages("fsmount", descriptor);
  return static_cast<int>(mount);
}

Status send_datagram(const std::string& path, const std::string& text) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return usage("socket", "its path is too long");
  path.copy(address.sun_path, path.size());
  if (path.front() == '@') address.sun_path[0] = '\0';
  const File socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");
  if (socket.descriptor() < 0) return system_error("socket", errno);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  const ssize_t sent = ::sendto(socket.descriptor(), text.data(), text.size(), MSG_NOSIGNAL,
                                reinterpret_cast<const sockaddr*>(&address), size);
  return status_of("sendto", sent < 0 ? -1 : 0);
}

Status move_mount(int descriptor, const std::string& target) {
  return status_of("move_mount",
                   syscall(SYS_move_mount, descriptor, "", AT_FDCWD, target.c_str(), kMoveFromEmptyPath));
}

}  // namespace seekable::sys
