// How full temporary files may make a disk.
#pragma once

#include "base/error.h"
#include "base/io.h"

namespace seekable {

// Between two checks of a file that grows, so many bytes may be written.
inline constexpr uint64_t kSpaceCheckInterval = 1 << 20;

// kNoSpace when less than 5 % of the file system that `file` is in, or less than 1 GiB where that is less, is
// left. What is unpacked may be a bomb, and others need the disk as well. The same as src/fs/disk-space.ts.
Status check_space_left(const File& file);

}  // namespace seekable
