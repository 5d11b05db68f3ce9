// Files, folders and links made beneath one folder, whatever their names and whatever is there already: every
// path is walked name by name from the root folder, and no step follows a symbolic link.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "base/job.h"
#include "sys/identity.h"
#include "sys/tree_entry.h"

namespace seekable::sys {

class TreeWriter {
 public:
  struct Options {
    bool replace;  // what is in the way: files and links, but no folders
    bool owners;   // restore uid and gid
  };
  // `root` is the open root folder; its name is what errors call it.
  TreeWriter(File root, const Options& options) : root_(std::move(root)), options_(options) {}

  // Makes the entries in order; their folders must be there. Folders stay private and writable until
  // finish_folders(). kIo names the entry that the system refused; the job counts bytes. Several threads may
  // write at once, as long as none needs what another one is about to make.
  Status write(const std::vector<TreeEntry>& entries, Job& job, std::vector<TreeNotice>& notices);
  // Gives folders their attributes, in this order: a folder after all that is in it. They must be those that
  // write() made or found, whatever has their names by now. Nothing else runs meanwhile.
  Status finish_folders(const std::vector<TreeEntry>& folders, const Job& job,
                        std::vector<TreeNotice>& notices);
  // Removes the files that have begun and not ended. Nothing else runs meanwhile.
  void abandon();
  // Removes all that write() made, and nothing that is there besides. Nothing else runs meanwhile.
  Status remove_made();
  // Removes all that is there, of which none is anybody else's. Nothing else runs meanwhile.
  Status remove_all();

 private:
  class Run;
  struct OpenFile {
    File file;
    std::string path;
  };

  Status finish_folder(int parent, const TreeEntry& entry, std::vector<TreeNotice>& notices);
  void keep_unfinished(OpenFile file);
  // Without a descriptor when there is no such file.
  OpenFile take_unfinished(const std::string& path);

  const File root_;
  const Options options_;
  std::mutex mutex_;
  std::vector<OpenFile> unfinished_;
  // What write() made; and the folders that it may finish.
  IdentitySet made_;
  IdentitySet folders_;
};

}  // namespace seekable::sys
