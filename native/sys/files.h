// What takes several system calls on files, as one call. What these do for one file costs less than it would
// to wait for another thread between two of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable::sys {

// `what` of an error is the path, `error_number` the system's. Descriptors are closed on exec, and the
// caller's to close.

// The folder `names` inside of `root`. It is found name by name; `root` may be a symbolic link, nothing
// inside of it is followed: ELOOP or ENOTDIR. `make`: folders that are missing are made.
Result<int> open_folder(const std::string& root, const std::vector<std::string>& names, bool make);

struct OpenedFile {
  int descriptor;
  bool is_file;     // a regular one
  uint64_t size;    // now
  uint64_t before;  // a moment before it was opened
};
// Opens what is at `path` for reading, a link in its last place followed or not (ELOOP). A FIFO is not waited
// for.
Result<OpenedFile> open_to_read(const std::string& path, bool follow_link);

// A new file at `path` with these bytes, on the disk when this returns. EEXIST; after any other failure there
// is none.
Status write_file(const std::string& path, Bytes bytes);

// Makes the names in a folder last. File systems that can't do that for folders, and folders that may not be
// read, are left.
Status sync_folder(const std::string& path);

// The file at `path`, made if need be and locked by flock(2); -1 while another holds it, or when `path` names
// another file by now.
Result<int> lock_file(const std::string& path, uint32_t mode);
// Removes the name of a locked file, if it still is that file's. The lock goes with the descriptor, which is
// closed.
Status unlock_file(int descriptor, const std::string& path);

}  // namespace seekable::sys
