// The way from a root folder down to another one, kept open: most names are made where the one before was.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/io.h"

namespace seekable::sys {

// Names joined by single slashes, none of which leads anywhere but down.
bool is_path(std::string_view path);
// The part of a path before its last slash; empty without one.
std::string_view folder_of(const std::string& path);
// The part behind it.
const char* name_of(const std::string& path);

class FolderStack {
 public:
  // `root` outlives the stack.
  explicit FolderStack(const File& root) : root_(root) {}

  // A handle (O_PATH) on the folder `path` beneath the root, valid until the next call; empty: the root.
  // Every step is one name that is no symbolic link. kCorrupt for what is no path, kIo with the system's
  // reason.
  Result<int> enter(std::string_view path);

 private:
  struct Level {
    size_t end;   // of its path in path_
    File handle;  // closed where there are too many
  };

  // Leaves all levels that `path` does not go through; returns how much of it is left to walk.
  std::string_view rewind(std::string_view path);
  int handle() const { return levels_.empty() ? root_.descriptor() : levels_.back().handle.descriptor(); }

  const File& root_;
  std::string path_;
  std::vector<Level> levels_;
};

}  // namespace seekable::sys
