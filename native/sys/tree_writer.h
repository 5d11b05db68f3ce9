// Files, folders and links made beneath one folder, whatever their names and whatever is there already: every
// path is walked name by name from the root folder, and no step follows a symbolic link.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "base/job.h"

namespace seekable::sys {

struct TreeEntry {
  enum class Kind { kFile, kFolder, kSymlink, kHardLink, kCharacter, kBlock, kFifo, kSocket };
  struct Xattr {
    std::string name;
    std::string value;
  };
  // A file's bytes from `offset`: those in memory, or else `length` bytes of a source. What no piece covers
  // is a hole.
  struct Piece {
    uint64_t offset = 0;
    Bytes bytes = {};
    std::shared_ptr<const ByteSource> source = nullptr;
    uint64_t address = 0;
    uint64_t length = 0;
  };

  Kind kind = Kind::kFile;
  // From the root folder, names joined by one slash; empty: the root folder itself.
  std::string path;
  // Permissions with setuid, setgid and sticky.
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  uint32_t major = 0;
  uint32_t minor = 0;
  // A symbolic link's text; the path that a hard link is another name of.
  std::string target;
  std::vector<Xattr> xattrs;
  // Of a file. Its pieces may come with several entries of the same path, one after the other.
  uint64_t size = 0;
  std::vector<Piece> pieces;
  bool begins = true;
  bool ends = true;
};

// Something that this user or this file system can't have: `path` is without `subject`. "device": without the
// entry.
struct TreeNotice {
  std::string path;
  std::string subject;  // "device", "owner", or an xattr's name
  std::string why;
};

// Not for several threads at once.
class TreeWriter {
 public:
  struct Options {
    bool replace;  // what is in the way: files and links, but no folders
    bool owners;   // restore uid and gid
  };
  // `root` is the open root folder; its name is what errors call it.
  TreeWriter(File root, const Options& options) : root_(std::move(root)), options_(options) {}

  // Makes the entries in order; their folders must be there. Folders stay private and writable until
  // finish_folders(). kIo names the entry that the system refused; the job counts bytes.
  Status write(const std::vector<TreeEntry>& entries, Job& job, std::vector<TreeNotice>& notices);
  // Gives folders their attributes, in this order: a folder after all that is in it.
  Status finish_folders(const std::vector<TreeEntry>& folders, const Job& job,
                        std::vector<TreeNotice>& notices);
  // Removes the file that has begun and not ended.
  void abandon();

 private:
  Status make(const TreeEntry& entry, Job& job, std::vector<TreeNotice>& notices);
  Status make_file(const TreeEntry& entry, Job& job, std::vector<TreeNotice>& notices);
  Status make_folder(const TreeEntry& entry);
  Status make_symlink(const TreeEntry& entry, std::vector<TreeNotice>& notices);
  Status make_hard_link(const TreeEntry& entry);
  Status make_special(const TreeEntry& entry, std::vector<TreeNotice>& notices);
  Status begin_file(const TreeEntry& entry);
  Status write_piece(const TreeEntry::Piece& piece, Job& job);
  Status end_file(const TreeEntry& entry, std::vector<TreeNotice>& notices);
  // Makes `parent_` the folder of `path`.
  Status enter_folder_of(const std::string& path);
  Result<File> open_folder(const std::string& path) const;
  // Calls `make` until it succeeds; with `replace`, what is in the way goes.
  template <typename Make>
  Result<int> make_name(const TreeEntry& entry, Make make);

  std::string described(const std::string& path) const;
  Error failed(const TreeEntry& entry, int error_number) const;

  File root_;
  Options options_;
  std::string parent_path_;
  File parent_;
  bool has_parent_ = false;
  File open_file_;
  std::string open_file_path_;
  Buffer scratch_;
};

}  // namespace seekable::sys
