#include "sys/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>

#include "base/text.h"
#include "sys/entry_attributes.h"
#include "sys/folder_stack.h"
#include "sys/piece_reader.h"
#include "sys/tree_removal.h"

namespace seekable::sys {

namespace {

using Kind = TreeEntry::Kind;

// mknodat(2) without glibc's function, whose symbol would ask for glibc 2.33.
int make_node(int folder, const char* name, mode_t mode, dev_t device) {
  return static_cast<int>(syscall(SYS_mknodat, folder, name, mode, static_cast<unsigned>(device)));
}

mode_t type_bits(Kind kind) {
  switch (kind) {
    case Kind::kSymlink: return S_IFLNK;
    case Kind::kCharacter: return S_IFCHR;
    case Kind::kBlock: return S_IFBLK;
    case Kind::kSocket: return S_IFSOCK;
    default: return S_IFIFO;
  }
}

std::string described(const File& root, const std::string& path) {
  return path.empty() ? root.name() : root.name() + "/" + printable(path);
}

Error failed(const File& root, const TreeEntry& entry, int error_number) {
  Error error = system_error(described(root, entry.path), error_number);
  if (error_number == EEXIST) error.hint = "the image has this name twice, or something else writes here";
  if (error_number == EISDIR) error.hint = "a folder is in its place: remove it";
  return error;
}

}  // namespace

// One call of write().
class TreeWriter::Run {
 public:
  Run(TreeWriter& writer, const std::vector<TreeEntry>& entries, Job& job, TreeNotices& notices)
      : writer_(writer),
        entries_(entries),
        job_(job),
        notices_(notices),
        folders_(writer.root_),
        targets_(writer.root_),
        reader_(entries) {}
  ~Run() {
    if (open_.file.descriptor() >= 0) writer_.keep_unfinished(std::move(open_));
    const std::lock_guard lock(writer_.mutex_);
    writer_.made_.add(made_);
    writer_.folders_.add(entered_);
  }

  Status make_all() {
    for (const TreeEntry& entry : entries_) {
      TRY(job_.check());
      if (!is_path(entry.path)) return corrupt(described(writer_.root_, entry.path), "no legal path");
      parent_ = TRY(folders_.enter(folder_of(entry.path)));
      name_ = name_of(entry.path);
      TRY(make(entry));
    }
    return ok();
  }

 private:
  Status make(const TreeEntry& entry) {
    switch (entry.kind) {
      case Kind::kFile: return make_file(entry);
      case Kind::kFolder: return make_folder(entry);
      case Kind::kSymlink: return make_symlink(entry);
      case Kind::kHardLink: return make_hard_link(entry);
      default: return make_special(entry);
    }
  }

  Error failed(const TreeEntry& entry, int error_number) const {
    return sys::failed(writer_.root_, entry, error_number);
  }

  // Calls `make` until it succeeds; with `replace`, what is in the way goes.
  template <typename Make>
  Result<int> make_name(const TreeEntry& entry, Make make) {
    int made = make();
    if (made < 0 && errno == EEXIST && writer_.options_.replace) {
      if (unlinkat(parent_, name_, 0) != 0) return failed(entry, errno);
      made = make();
    }
    if (made < 0) return failed(entry, errno);
    return made;
  }

  Status make_file(const TreeEntry& entry) {
    open_ = entry.begins ? OpenFile{TRY(create(entry)), entry.path} : writer_.take_unfinished(entry.path);
    if (open_.file.descriptor() < 0) {
      return corrupt(described(writer_.root_, entry.path), "its pieces are out of order");
    }
    for (const TreeEntry::Piece& piece : entry.pieces) TRY(reader_.copy(piece, open_.file, job_));
    if (entry.ends) {
      TRY(end_file(entry));
      open_ = OpenFile();
    } else {
      writer_.keep_unfinished(std::exchange(open_, OpenFile()));
    }
    return ok();
  }

  Result<File> create(const TreeEntry& entry) {
    constexpr int kNew = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    const int descriptor = TRY(make_name(entry, [this] { return openat(parent_, name_, kNew, 0600); }));
    File file(descriptor, described(writer_.root_, entry.path));
    const auto status = status_of(descriptor);
    if (!status) return failed(entry, errno);
    made_.push_back(status->identity);
    return file;
  }

  Status end_file(const TreeEntry& entry) {
    // A hole at the end, or all of it.
    const bool is_plain = entry.begins && entry.pieces.size() == 1 && entry.pieces[0].offset == 0;
    const uint64_t written = is_plain ? entry.pieces[0].bytes.size() + entry.pieces[0].length : 0;
    const int descriptor = open_.file.descriptor();
    if (written != entry.size && ftruncate(descriptor, static_cast<off_t>(entry.size)) != 0) {
      return failed(entry, errno);
    }
    const int problem = set_open_attributes(descriptor, entry, writer_.options_.owners, notices_);
    return problem == 0 ? ok() : Status(failed(entry, problem));
  }

  Status make_folder(const TreeEntry& entry) {
    if (mkdirat(parent_, name_, 0700) == 0) return enter_made(entry);
    if (errno != EEXIST || !writer_.options_.replace) return failed(entry, errno);
    const File there(openat(parent_, name_, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), name_);
    if (there.descriptor() >= 0) {
      const auto status = status_of(there.descriptor());
      if (!status) return failed(entry, errno);
      entered_.push_back(status->identity);
      // Another's folder may let us write all the same.
      chmod(path_of(there.descriptor()).c_str(), 0700);
      return ok();
    }
    TRY(make_name(entry, [this] { return mkdirat(parent_, name_, 0700); }));
    return enter_made(entry);
  }

  // What was made a moment ago is empty: otherwise somebody has put another folder in its place.
  Status enter_made(const TreeEntry& entry) {
    const File folder(openat(parent_, name_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), name_);
    const auto status = status_of(folder.descriptor());
    if (!status) return failed(entry, errno);
    if (!is_empty(folder.descriptor())) return failed(entry, EEXIST);
    made_.push_back(status->identity);
    entered_.push_back(status->identity);
    return ok();
  }

  Status make_symlink(const TreeEntry& entry) {
    TRY(make_name(entry, [&] { return symlinkat(entry.target.c_str(), parent_, name_); }));
    return set_attributes(entry);
  }

  Status make_hard_link(const TreeEntry& entry) {
    if (!is_path(entry.target)) return corrupt(described(writer_.root_, entry.target), "no legal path");
    const int folder = TRY(targets_.enter(folder_of(entry.target)));
    const char* target = name_of(entry.target);
    // Without flags: a link to a symbolic link, not to what it points to.
    TRY(make_name(entry, [&] { return linkat(folder, target, parent_, name_, 0); }));
    return ok();
  }

  Status make_special(const TreeEntry& entry) {
    const bool is_device = entry.kind == Kind::kCharacter || entry.kind == Kind::kBlock;
    bool refused = false;
    TRY(make_name(entry, [&] {
      const dev_t device = makedev(entry.major, entry.minor);
      const int made = make_node(parent_, name_, type_bits(entry.kind) | 0600, device);
      refused = made != 0 && errno == EPERM && is_device;
      if (refused) take_notice(notices_, entry, "device");
      return refused ? 0 : made;
    }));
    return refused ? ok() : set_attributes(entry);
  }

  // Of what was made a moment ago: otherwise somebody has put something else in its place.
  Status set_attributes(const TreeEntry& entry) {
    const File handle(openat(parent_, name_, O_PATH | O_NOFOLLOW | O_CLOEXEC), name_);
    const auto status = status_of(handle.descriptor());
    if (!status) return failed(entry, errno);
    if ((status->mode & S_IFMT) != type_bits(entry.kind) || status->links != 1) return failed(entry, EEXIST);
    made_.push_back(status->identity);
    const bool owners = writer_.options_.owners;
    const int problem = set_handle_attributes(handle.descriptor(), entry, owners, notices_);
    return problem == 0 ? ok() : Status(failed(entry, problem));
  }

  TreeWriter& writer_;
  const std::vector<TreeEntry>& entries_;
  Job& job_;
  TreeNotices& notices_;
  FolderStack folders_;
  FolderStack targets_;  // of hard links
  PieceReader reader_;
  // Where the entry's name is to be made.
  int parent_ = -1;
  const char* name_ = nullptr;
  OpenFile open_;
  std::vector<Identity> made_;
  std::vector<Identity> entered_;  // folders, made or found
};

Status TreeWriter::write(const std::vector<TreeEntry>& entries, Job& job, TreeNotices& notices) {
  return Run(*this, entries, job, notices).make_all();
}

Status TreeWriter::finish_folders(const std::vector<TreeEntry>& folders, const Job& job,
                                  TreeNotices& notices) {
  FolderStack parents(root_);
  for (const TreeEntry& entry : folders) {
    TRY(job.check());
    if (!entry.path.empty() && !is_path(entry.path))
      return corrupt(described(root_, entry.path), "no legal path");
    TRY(finish_folder(TRY(parents.enter(folder_of(entry.path))), entry, notices));
  }
  return ok();
}

Status TreeWriter::finish_folder(int parent, const TreeEntry& entry, TreeNotices& notices) {
  const char* name = entry.path.empty() ? "." : name_of(entry.path);
  const File folder(openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), name);
  const auto status = status_of(folder.descriptor());
  if (!status) return failed(root_, entry, errno);
  if (!entry.path.empty() && !folders_.has(status->identity)) return failed(root_, entry, EEXIST);
  const int problem = set_open_attributes(folder.descriptor(), entry, options_.owners, notices);
  return problem == 0 ? ok() : Status(failed(root_, entry, problem));
}

void TreeWriter::abandon() {
  FolderStack folders(root_);
  for (const OpenFile& file : unfinished_) {
    const Result<int> folder = folders.enter(folder_of(file.path));
    if (folder.ok()) unlinkat(folder.value(), name_of(file.path), 0);
  }
  unfinished_.clear();
}

Status TreeWriter::remove_made() {
  unfinished_.clear();
  return sys::remove_made(root_, made_);
}

Status TreeWriter::remove_all() { return sys::remove_all(root_); }

void TreeWriter::keep_unfinished(OpenFile file) {
  const std::lock_guard lock(mutex_);
  unfinished_.push_back(std::move(file));
}

TreeWriter::OpenFile TreeWriter::take_unfinished(const std::string& path) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(unfinished_.begin(), unfinished_.end(),
                                  [&](const OpenFile& file) { return file.path == path; });
  if (found == unfinished_.end()) return {};
  OpenFile file = std::move(*found);
  unfinished_.erase(found);
  return file;
}

}  // namespace seekable::sys
