#include "base/disk_space.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <string>

namespace seekable {

Status check_space_left(const File& file) {
  struct statvfs disk;
  if (fstatvfs(file.descriptor(), &disk) != 0) return system_error(file.name(), errno);
  const uint64_t block = disk.f_frsize;
  const uint64_t least = std::min<uint64_t>(disk.f_blocks * block / 20, 1 << 30);
  const uint64_t left = disk.f_bavail * block;
  if (left >= least) return ok();
  return Error{
      ErrorCode::kNoSpace, file.name(),
      std::to_string(left) + " bytes of the disk are left, and " + std::to_string(least) + " must stay free",
      "free some space, or name another folder with --tmp-dir"};
}

}  // namespace seekable
