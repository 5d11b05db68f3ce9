// The names that the server shows: folders, and in them layer files by their numbers. It knows nothing of
// what is in a file, and one file may have a name in several folders. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/error.h"

namespace seekable::fuse {

class FolderTree {
 public:
  FolderTree();  // the root alone

  struct Entry {
    uint64_t node;
    bool is_folder;
  };
  bool is_folder(uint64_t node) const { return folders_.contains(node); }
  // Nothing when there is no such folder, or no such name in it.
  std::optional<Entry> find(uint64_t folder, std::string_view name) const;
  // A folder's names by their numbers, which READDIR goes on from. REQUIRES: is_folder(folder)
  const std::map<uint64_t, std::string>& names(uint64_t folder) const { return folders_.at(folder).names; }

  // kUsage when there is no such folder, or the name, or the number in that folder, is taken.
  Status add_file(uint64_t folder, const std::string& name, uint64_t node);
  // The same for a folder, whose number must be new.
  Status add_folder(uint64_t folder, const std::string& name, uint64_t node);
  // Takes a name away; what is in a folder goes with it. Nothing happens when there is no such name.
  void remove(uint64_t folder, std::string_view name);
  // Takes every name of a file away.
  void remove_file(uint64_t node);

 private:
  struct Folder {
    std::map<std::string, uint64_t, std::less<>> nodes;
    std::map<uint64_t, std::string> names;
  };
  std::unordered_map<uint64_t, Folder> folders_;
};

}  // namespace seekable::fuse
