#include "sys/folder_stack.h"

#include <fcntl.h>

#include <cerrno>

#include "base/text.h"

namespace seekable::sys {

namespace {

// A handle on a folder, for names in it; it needs no permission to read the folder.
constexpr int kFolderHandle = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// An image may be thousands of folders deep, and a process may have a thousand files open.
constexpr size_t kMaxOpen = 64;

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('\0') == std::string_view::npos;
}

}  // namespace

bool is_path(std::string_view path) {
  for (size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/')) {
    if (!is_name(path.substr(0, slash))) return false;
    path.remove_prefix(slash + 1);
  }
  return is_name(path);
}

std::string_view folder_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string_view() : std::string_view(path).substr(0, slash);
}

const char* name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return path.c_str() + (slash == std::string::npos ? 0 : slash + 1);
}

Result<int> FolderStack::enter(std::string_view path) {
  if (path == path_) return handle();
  const auto described = [&] { return root_.name() + "/" + printable(std::string(path)); };
  if (!path.empty() && !is_path(path)) return corrupt(described(), "no legal path");
  std::string_view rest = rewind(path);
  while (!rest.empty()) {
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    File next(openat(handle(), name.c_str(), kFolderHandle), name);
    if (next.descriptor() < 0) return system_error(described(), errno);
    if (!path_.empty()) path_ += '/';
    path_ += name;
    levels_.push_back({path_.size(), std::move(next)});
    if (levels_.size() > kMaxOpen) levels_[levels_.size() - 1 - kMaxOpen].handle = File();
  }
  return handle();
}

std::string_view FolderStack::rewind(std::string_view path) {
  const auto leads_to = [&](const Level& level) {
    const bool is_open = level.handle.descriptor() >= 0;
    const bool is_prefix = path.substr(0, level.end) == std::string_view(path_).substr(0, level.end);
    return is_open && is_prefix && (path.size() == level.end || path[level.end] == '/');
  };
  while (!levels_.empty() && !leads_to(levels_.back())) levels_.pop_back();
  path_.resize(levels_.empty() ? 0 : levels_.back().end);
  path.remove_prefix(path_.size());
  if (!path_.empty() && !path.empty()) path.remove_prefix(1);
  return path;
}

}  // namespace seekable::sys
