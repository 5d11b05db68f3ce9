#include "sys/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "base/text.h"

namespace seekable::sys {

namespace {

using Kind = TreeEntry::Kind;
using Notices = std::vector<TreeNotice>;

// Small enough to stay in a core's cache between the read and the write.
constexpr size_t kScratchSize = 256 << 10;

// A handle on a folder, for names in it; it needs no permission to read the folder.
constexpr int kFolderHandle = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// mknodat(2) without glibc's function, whose symbol would ask for glibc 2.33.
int make_node(int folder, const char* name, mode_t mode, dev_t device) {
  return static_cast<int>(syscall(SYS_mknodat, folder, name, mode, static_cast<unsigned>(device)));
}

std::string_view folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string_view() : std::string_view(path).substr(0, slash);
}

const char* name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
}

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('\0') == std::string_view::npos;
}

// Names joined by single slashes, none of which leads anywhere but down.
bool is_path(std::string_view path) {
  for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
    if (!is_name(path.substr(0, slash))) return false;
    path.remove_prefix(slash + 1);
  }
  return is_name(path);
}

// The path that an open descriptor is reached by: for calls that have no variant for handles.
std::string path_of(int descriptor) { return "/proc/self/fd/" + std::to_string(descriptor); }

void set_times(const TreeEntry& entry, timespec (&times)[2]) {
  times[0] = {.tv_sec = 0, .tv_nsec = UTIME_OMIT};
  times[1] = {.tv_sec = static_cast<time_t>(entry.seconds), .tv_nsec = static_cast<long>(entry.nanoseconds)};
}

// An owner or an xattr that the user or the file system can't have is no reason to give up the tree.
void take_notice(Notices& notices, const TreeEntry& entry, std::string subject) {
  notices.push_back({entry.path, std::move(subject), std::strerror(errno)});
}

// Owner, then mode (a new owner clears setuid), then xattrs (a new mode changes an ACL), then times.
// Returns 0 or the errno of what must not fail.
int set_open_attributes(int descriptor, const TreeEntry& entry, bool owners, Notices& notices) {
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

// The same for what can't be opened (links, devices), by its name in `folder`. A link has no mode.
int set_named_attributes(int folder, const char* name, const TreeEntry& entry, bool owners,
                         Notices& notices) {
  if (owners && fchownat(folder, name, entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0) {
    take_notice(notices, entry, "owner");
  }
  if (entry.kind != Kind::kSymlink) {
    const File handle(openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), name);
    if (handle.descriptor() < 0 || chmod(path_of(handle.descriptor()).c_str(), entry.mode) != 0) return errno;
  }
  const std::string path = path_of(folder) + "/" + name;
  for (const auto& [key, value] : entry.xattrs) {
    if (lsetxattr(path.c_str(), key.c_str(), value.data(), value.size(), 0) != 0)
      take_notice(notices, entry, key);
  }
  timespec times[2];
  set_times(entry, times);
  return utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

mode_t type_bits(Kind kind) {
  switch (kind) {
    case Kind::kCharacter: return S_IFCHR;
    case Kind::kBlock: return S_IFBLK;
    case Kind::kSocket: return S_IFSOCK;
    default: return S_IFIFO;
  }
}

}  // namespace

std::string TreeWriter::described(const std::string& path) const {
  return path.empty() ? root_.name() : root_.name() + "/" + printable(path);
}

Error TreeWriter::failed(const TreeEntry& entry, int error_number) const {
  Error error = system_error(described(entry.path), error_number);
  if (error_number == EEXIST) error.hint = "the image has this name twice, or something else writes here";
  if (error_number == EISDIR) error.hint = "a folder is in its place: remove it";
  return error;
}

Result<File> TreeWriter::open_folder(const std::string& path) const {
  if (!path.empty() && !is_path(path)) return corrupt(described(path), "no legal path");
  File folder(openat(root_.descriptor(), ".", kFolderHandle), root_.name());
  if (folder.descriptor() < 0) return system_error(root_.name(), errno);
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string name(rest.substr(0, slash));
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    File next(openat(folder.descriptor(), name.c_str(), kFolderHandle), name);
    if (next.descriptor() < 0) return system_error(described(path), errno);
    folder = std::move(next);
  }
  return folder;
}

Status TreeWriter::enter_folder_of(const std::string& path) {
  if (!is_path(path)) return corrupt(described(path), "no legal path");
  const std::string_view folder = folder_of(path);
  if (has_parent_ && folder == parent_path_) return ok();
  has_parent_ = false;
  parent_ = TRY(open_folder(std::string(folder)));
  parent_path_ = folder;
  has_parent_ = true;
  return ok();
}

template <typename Make>
Result<int> TreeWriter::make_name(const TreeEntry& entry, Make make) {
  const char* name = name_of(entry.path);
  int made = make(parent_.descriptor(), name);
  if (made < 0 && errno == EEXIST && options_.replace) {
    if (unlinkat(parent_.descriptor(), name, 0) != 0) return failed(entry, errno);
    made = make(parent_.descriptor(), name);
  }
  if (made < 0) return failed(entry, errno);
  return made;
}

Status TreeWriter::write(const std::vector<TreeEntry>& entries, Job& job, Notices& notices) {
  for (const TreeEntry& entry : entries) {
    TRY(job.check());
    TRY(make(entry, job, notices));
  }
  return ok();
}

Status TreeWriter::make(const TreeEntry& entry, Job& job, Notices& notices) {
  TRY(enter_folder_of(entry.path));
  switch (entry.kind) {
    case Kind::kFile: return make_file(entry, job, notices);
    case Kind::kFolder: return make_folder(entry);
    case Kind::kSymlink: return make_symlink(entry, notices);
    case Kind::kHardLink: return make_hard_link(entry);
    default: return make_special(entry, notices);
  }
}

Status TreeWriter::make_file(const TreeEntry& entry, Job& job, Notices& notices) {
  if (entry.begins) TRY(begin_file(entry));
  if (entry.path != open_file_path_) return corrupt(described(entry.path), "its pieces are out of order");
  for (const TreeEntry::Piece& piece : entry.pieces) TRY(write_piece(piece, job));
  return entry.ends ? end_file(entry, notices) : ok();
}

Status TreeWriter::write_piece(const TreeEntry::Piece& piece, Job& job) {
  if (piece.source == nullptr) {
    TRY(job.check());
    job.advance(piece.bytes.size());
    return open_file_.write_at(piece.offset, piece.bytes);
  }
  if (scratch_.size() == 0) scratch_ = TRY(Buffer::allocate(kScratchSize));
  for (uint64_t done = 0; done < piece.length;) {
    TRY(job.check());
    const MutableBytes bytes = scratch_.first(std::min<uint64_t>(piece.length - done, kScratchSize));
    TRY(piece.source->read_at(piece.address + done, bytes));
    TRY(open_file_.write_at(piece.offset + done, bytes));
    done += bytes.size();
    job.advance(bytes.size());
  }
  return ok();
}

Status TreeWriter::begin_file(const TreeEntry& entry) {
  const int descriptor = TRY(make_name(entry, [](int folder, const char* name) {
    return openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  }));
  open_file_ = File(descriptor, described(entry.path));
  open_file_path_ = entry.path;
  return ok();
}

Status TreeWriter::end_file(const TreeEntry& entry, Notices& notices) {
  // A hole at the end, or all of it.
  const bool is_plain = entry.begins && entry.pieces.size() == 1 && entry.pieces[0].offset == 0;
  const uint64_t written = is_plain ? entry.pieces[0].bytes.size() + entry.pieces[0].length : 0;
  if (written != entry.size && ftruncate(open_file_.descriptor(), static_cast<off_t>(entry.size)) != 0) {
    return failed(entry, errno);
  }
  const int problem = set_open_attributes(open_file_.descriptor(), entry, options_.owners, notices);
  if (problem != 0) return failed(entry, problem);
  open_file_ = File();
  open_file_path_.clear();
  return ok();
}

Status TreeWriter::make_folder(const TreeEntry& entry) {
  const char* name = name_of(entry.path);
  if (mkdirat(parent_.descriptor(), name, 0700) == 0) return ok();
  if (errno != EEXIST || !options_.replace) return failed(entry, errno);
  const File there(openat(parent_.descriptor(), name, kFolderHandle), name);
  if (there.descriptor() >= 0) {
    chmod(path_of(there.descriptor()).c_str(), 0700);  // another's folder may let us write all the same
    return ok();
  }
  TRY(make_name(entry, [](int folder, const char* path) { return mkdirat(folder, path, 0700); }));
  return ok();
}

Status TreeWriter::make_symlink(const TreeEntry& entry, Notices& notices) {
  TRY(make_name(entry,
                [&](int folder, const char* name) { return symlinkat(entry.target.c_str(), folder, name); }));
  const int problem =
      set_named_attributes(parent_.descriptor(), name_of(entry.path), entry, options_.owners, notices);
  return problem == 0 ? ok() : Status(failed(entry, problem));
}

Status TreeWriter::make_hard_link(const TreeEntry& entry) {
  if (!is_path(entry.target)) return corrupt(described(entry.target), "no legal path");
  const File folder = TRY(open_folder(std::string(folder_of(entry.target))));
  const char* target = name_of(entry.target);
  TRY(make_name(entry, [&](int parent, const char* name) {
    return linkat(folder.descriptor(), target, parent, name,
                  0);  // a link to a symbolic link, not to what it points to
  }));
  return ok();
}

Status TreeWriter::make_special(const TreeEntry& entry, Notices& notices) {
  const bool is_device = entry.kind == Kind::kCharacter || entry.kind == Kind::kBlock;
  bool refused = false;
  TRY(make_name(entry, [&](int folder, const char* name) {
    const int made = make_node(folder, name, type_bits(entry.kind) | 0600, makedev(entry.major, entry.minor));
    refused = made != 0 && errno == EPERM && is_device;
    if (refused) take_notice(notices, entry, "device");
    return refused ? 0 : made;
  }));
  if (refused) return ok();
  const int problem =
      set_named_attributes(parent_.descriptor(), name_of(entry.path), entry, options_.owners, notices);
  return problem == 0 ? ok() : Status(failed(entry, problem));
}

Status TreeWriter::finish_folders(const std::vector<TreeEntry>& folders, const Job& job, Notices& notices) {
  for (const TreeEntry& entry : folders) {
    TRY(job.check());
    const File handle = TRY(open_folder(entry.path));
    const File folder(openat(handle.descriptor(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), entry.path);
    if (folder.descriptor() < 0) return failed(entry, errno);
    const int problem = set_open_attributes(folder.descriptor(), entry, options_.owners, notices);
    if (problem != 0) return failed(entry, problem);
  }
  return ok();
}

void TreeWriter::abandon() {
  if (open_file_path_.empty()) return;
  const Result<File> folder = open_folder(std::string(folder_of(open_file_path_)));
  if (folder.ok()) unlinkat(folder.value().descriptor(), name_of(open_file_path_), 0);
  open_file_ = File();
  open_file_path_.clear();
}

}  // namespace seekable::sys
