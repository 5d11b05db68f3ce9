#include "sys/tree_removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "sys/entry_attributes.h"
#include "sys/folder_stack.h"

namespace seekable::sys {

namespace {

// Somebody took the folder away, or put something else there.
bool is_gone(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP;
}

using Stream = std::unique_ptr<DIR, int (*)(DIR*)>;

class Removal {
 public:
  // `made` null: everything goes.
  Removal(const File& root, IdentitySet* made) : root_(root), made_(made), folders_(root) {}

  Status run() {
    left_.push_back({});
    while (!left_.empty()) {
      Folder& folder = left_.back();
      if (folder.emptied) {
        const std::string path = std::move(folder.path);
        left_.pop_back();
        if (!path.empty()) TRY(remove_folder(path));
      } else {
        folder.emptied = true;
        TRY(empty(std::string(folder.path)));
      }
    }
    return ok();
  }

 private:
  struct Folder {
    std::string path;
    bool emptied = false;
  };

  bool is_made(const Identity& identity) { return made_ == nullptr || made_->has(identity); }

  Error failed(const std::string& path, int error_number) const {
    return system_error(path.empty() ? root_.name() : root_.name() + "/" + printable(path), error_number);
  }

  Status empty(const std::string& path) {
    const Result<int> entered = folders_.enter(path);
    if (!entered.ok()) return is_gone(entered.error().error_number) ? ok() : Status(entered.error());
    const int handle = entered.value();
    if (!path.empty()) {
      const auto status = status_of(handle);
      if (!status || !is_made(status->identity)) return ok();  // something else took its name
      chmod(path_of(handle).c_str(), 0700);                    // may forbid it to its owner
    }
    const int descriptor = openat(handle, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const Stream stream(descriptor < 0 ? nullptr : fdopendir(descriptor), closedir);
    if (stream == nullptr) return failed(path, errno);
    // Names that go while others are read may hide some.
    for (bool again = true; again; rewinddir(stream.get())) {
      again = TRY(remove_files(*stream, path));
    }
    return add_folders(*stream, path);
  }

  // Whether any was removed.
  Result<bool> remove_files(DIR& stream, const std::string& path) {
    bool removed = false;
    while (const dirent* entry = readdir(&stream)) {
      const auto status = status_at(dirfd(&stream), entry->d_name);
      if (!status || status->is_folder() || !is_made(status->identity)) continue;
      if (unlinkat(dirfd(&stream), entry->d_name, 0) == 0) {
        removed = true;
      } else if (errno != ENOENT) {
        return failed(path + "/" + entry->d_name, errno);
      }
    }
    return removed;
  }

  Status add_folders(DIR& stream, const std::string& path) {
    while (const dirent* entry = readdir(&stream)) {
      const std::string name = entry->d_name;
      const auto status = status_at(dirfd(&stream), entry->d_name);
      const bool is_folder = status && status->is_folder() && is_made(status->identity);
      if (name == "." || name == ".." || !is_folder) continue;
      left_.push_back({path.empty() ? name : path + "/" + name});
    }
    return ok();
  }

  Status remove_folder(const std::string& path) {
    const Result<int> entered = folders_.enter(folder_of(path));
    if (!entered.ok()) return is_gone(entered.error().error_number) ? ok() : Status(entered.error());
    const int parent = entered.value();
    const auto status = status_at(parent, name_of(path));
    if (!status || !is_made(status->identity)) return ok();
    if (unlinkat(parent, name_of(path), AT_REMOVEDIR) == 0) return ok();
    return errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT ? ok() : Status(failed(path, errno));
  }

  const File& root_;
  IdentitySet* made_;
  FolderStack folders_;
  std::vector<Folder> left_;
};

}  // namespace

Status remove_made(const File& root, IdentitySet& made) { return Removal(root, &made).run(); }

Status remove_all(const File& root) { return Removal(root, nullptr).run(); }

}  // namespace seekable::sys
