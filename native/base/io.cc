#include "base/io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

namespace seekable {

namespace {

// One pread or pwrite moves at most this much on Linux.
constexpr size_t kMaxTransfer = 0x7ffff000;

Error ended_early(const std::string& name, uint64_t offset) {
  return corrupt(name, "ends at byte " + std::to_string(offset) + ", before what was expected of it");
}

bool within(uint64_t offset, size_t length, uint64_t size) {
  return offset <= size && length <= size - offset;
}

}  // namespace

Result<bool> ByteSource::lend(uint64_t, uint64_t, const std::function<Status(Bytes)>&) const { return false; }

File::File(File&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), name_(std::move(other.name_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(name_, other.name_);
  return *this;
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

Result<File> File::temporary(const std::string& directory) {
  int descriptor = open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOSYS)) {
    std::string path = directory + "/.seekable-erofs-XXXXXX";  // file systems without O_TMPFILE
    descriptor = mkostemp(path.data(), O_CLOEXEC);
    if (descriptor >= 0) unlink(path.c_str());
  }
  if (descriptor < 0) return system_error("temporary file in " + directory, errno);
  return File(descriptor, "temporary file in " + directory);
}

Result<File> File::duplicate(int descriptor, std::string name) {
  const int copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return system_error(std::move(name), errno);
  return File(copy, std::move(name));
}

Result<uint64_t> File::size() const {
  struct stat info;
  if (fstat(descriptor_, &info) != 0) return system_error(name_, errno);
  return static_cast<uint64_t>(info.st_size);
}

Status File::read_at(uint64_t offset, MutableBytes out) const {
  while (!out.empty()) {
    const size_t most = std::min(out.size(), kMaxTransfer);
    const ssize_t count = pread(descriptor_, out.data(), most, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(name_, errno);
    if (count == 0) return ended_early(name_, offset);
    out = out.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return ok();
}

bool File::read_cached(uint64_t offset, MutableBytes out) const {
  const iovec target{out.data(), out.size()};
  const ssize_t count = preadv2(descriptor_, &target, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  if (count < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) return read_at(offset, out).ok();
  return count >= 0 && static_cast<size_t>(count) == out.size();
}

Status File::write_at(uint64_t offset, Bytes bytes) const {
  while (!bytes.empty()) {
    const size_t most = std::min(bytes.size(), kMaxTransfer);
    const ssize_t count = pwrite(descriptor_, bytes.data(), most, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(name_, errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return ok();
}

void File::begin_writeback(uint64_t offset, uint64_t length) const {
  // Only a hint: pipes and odd file systems refuse it.
  sync_file_range(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
}

Status FileSource::read_at(uint64_t offset, MutableBytes out) const {
  if (!within(offset, out.size(), size_)) return ended_early(file_.name(), size_);
  return file_.read_at(offset_ + offset, out);
}

bool FileSource::read_cached(uint64_t offset, MutableBytes out) const {
  return within(offset, out.size(), size_) && file_.read_cached(offset_ + offset, out);
}

Status MemorySource::read_at(uint64_t offset, MutableBytes out) const {
  if (!within(offset, out.size(), size())) return ended_early("buffer", size());
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
  return ok();
}

}  // namespace seekable
