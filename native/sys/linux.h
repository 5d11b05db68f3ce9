// System calls that Node lacks. Nothing here knows what they are used for.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable::sys {

// flock(2), exclusive, without waiting: false when another open file holds the lock.
Result<bool> try_lock(int descriptor);

// Gives an open file without a name (O_TMPFILE) the name `path`. EEXIST when something has that name.
Status link_open_file(int descriptor, const std::string& path);

// The errors of the calls below are of the call by its name, and have its `error_number`.

// ioctl(2) with a number, or with memory that the kernel reads and writes: its size is the request's affair.
Result<int> ioctl(int descriptor, uint64_t request, uint64_t argument);
Result<int> ioctl(int descriptor, uint64_t request, MutableBytes argument);

struct Mount {
  std::string source;
  std::string target;
  std::string type;
  uint64_t flags;
  std::string data;
};
Status mount(const Mount& mount);
Status unmount(const std::string& target, int flags);

// One name in an open folder, so that nobody can lead the call elsewhere meanwhile.
// openat2(2) with RESOLVE_NO_SYMLINKS: ELOOP for a symbolic link. Before Linux 5.6, openat(2) with
// O_NOFOLLOW.
Result<int> open_entry(int folder, const std::string& name, int flags);
Status make_folder(int folder, const std::string& name, uint32_t mode);
Status remove_folder(int folder, const std::string& name);
// EEXIST when there is something of the new name, where the file system can tell.
Status rename_entry(int folder, const std::string& from, const std::string& to);

// A descriptor of another process's open file (Linux 5.6), closed on exec, and the caller's to close.
Result<int> take_descriptor(int process, int descriptor);

// Sends a datagram to a Unix socket; a path that begins with "@" is an abstract name.
Status send_datagram(const std::string& path, const std::string& text);

// The mount API of Linux 5.2. Descriptors are closed on exec, and the caller's to close. When configuring or
// mounting fails, `why` also has what the kernel said on the file system's descriptor.
Result<int> fsopen(const std::string& type);
// A parameter of fsconfig(2): `value` null for flags and commands.
struct Parameter {
  unsigned command;
  const char* key;
  const char* value;
};
Status fsconfig(int descriptor, const Parameter& parameter);
Result<int> fsmount(int descriptor, unsigned attributes);
// Attaches the mount that `descriptor` stands for.
Status move_mount(int descriptor, const std::string& target);

}  // namespace seekable::sys
