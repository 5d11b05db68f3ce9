#include "sys/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "sys/linux.h"

namespace seekable::sys {

namespace {

// An open file until somebody else takes it over.
class Opened {
 public:
  explicit Opened(int descriptor) : descriptor_(descriptor) {}
  Opened(Opened&& other) noexcept : descriptor_(other.release()) {}
  Opened& operator=(Opened&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Opened() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

Result<Opened> open_file(int folder, const std::string& name, int flags, uint32_t mode,
                         const std::string& shown) {
  int descriptor;
  do {
    descriptor = openat(folder, name.c_str(), flags | O_CLOEXEC, mode);
  } while (descriptor < 0 && errno == EINTR);
  if (descriptor < 0) return system_error(shown, errno);
  return Opened(descriptor);
}

Status sync(int descriptor, const std::string& path) {
  if (fsync(descriptor) == 0) return ok();
  return system_error(path, errno);
}

Status write_and_sync(int descriptor, const std::string& path, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) return system_error(path, errno);
    bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(count, 0)));
  }
  return sync(descriptor, path);
}

// Whether `path` still names the open file, and no link to it.
Result<bool> is_still_named(int descriptor, const std::string& path) {
  struct stat ours;
  if (fstat(descriptor, &ours) != 0) return system_error(path, errno);
  struct stat named;
  if (lstat(path.c_str(), &named) == 0) return named.st_ino == ours.st_ino && named.st_dev == ours.st_dev;
  if (errno == ENOENT) return false;
  return system_error(path, errno);
}

}  // namespace

Result<int> open_folder(const std::string& root, const std::vector<std::string>& names, bool make) {
  std::string shown = root;
  Opened folder = TRY(open_file(AT_FDCWD, root, O_RDONLY | O_DIRECTORY, 0, shown));
  for (const std::string& name : names) {
    shown += "/" + name;
    if (make && mkdirat(folder.get(), name.c_str(), 0777) != 0 && errno != EEXIST)
      return system_error(shown, errno);
    folder = TRY(open_file(folder.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, shown));
  }
  return folder.release();
}

Result<OpenedFile> open_to_read(const std::string& path, bool follow_link) {
  struct stat before;
  if (stat(path.c_str(), &before) != 0) return system_error(path, errno);
  const int flags = O_RDONLY | O_NONBLOCK | (follow_link ? 0 : O_NOFOLLOW);
  Opened file = TRY(open_file(AT_FDCWD, path, flags, 0, path));
  struct stat now;
  if (fstat(file.get(), &now) != 0) return system_error(path, errno);
  return OpenedFile{.descriptor = file.release(),
                    .is_file = S_ISREG(now.st_mode),
                    .size = static_cast<uint64_t>(now.st_size),
                    .before = static_cast<uint64_t>(before.st_size)};
}

Status write_file(const std::string& path, Bytes bytes) {
  const Opened file = TRY(open_file(AT_FDCWD, path, O_WRONLY | O_CREAT | O_EXCL, 0666, path));
  Status status = write_and_sync(file.get(), path, bytes);
  if (!status.ok()) unlink(path.c_str());
  return status;
}

Status sync_folder(const std::string& path) {
  const Result<Opened> folder = open_file(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0, path);
  if (!folder.ok()) return folder.error().error_number == EACCES ? ok() : Status(folder.error());
  Status status = sync(folder.value().get(), path);
  return !status.ok() && status.error().error_number == EINVAL ? ok() : std::move(status);
}

Result<int> lock_file(const std::string& path, uint32_t mode) {
  Opened file = TRY(open_file(AT_FDCWD, path, O_RDWR | O_CREAT | O_NOFOLLOW, mode, path));
  if (!TRY(try_lock(file.get())) || !TRY(is_still_named(file.get(), path))) return -1;
  return file.release();
}

Status unlock_file(int descriptor, const std::string& path) {
  const Opened file(descriptor);
  if (!TRY(is_still_named(descriptor, path))) return ok();
  return unlink(path.c_str()) == 0 ? ok() : system_error(path, errno);
}

}  // namespace seekable::sys
