#include "layer/path.h"

namespace seekable::layer {

CleanPath clean_path(std::string_view raw) {
  CleanPath path;
  path.text.reserve(raw.size());
  const bool starts_with_slash = raw.starts_with('/');
  for (std::string_view name = next_component(raw); !name.empty(); name = next_component(raw)) {
    if (name == ".") continue;
    if (name == "..") {
      path.clamped = path.clamped || path.text.empty();
      path.text.resize(parent_of(path.text).size());
      continue;
    }
    if (!path.text.empty()) path.text += '/';
    path.text += name;
  }
  path.absolute = starts_with_slash && !path.text.empty();
  return path;
}

std::string_view next_component(std::string_view& rest) {
  const size_t start = rest.find_first_not_of('/');
  if (start == std::string_view::npos) {
    rest = {};
    return {};
  }
  rest.remove_prefix(start);
  const std::string_view name = rest.substr(0, rest.find('/'));
  rest.remove_prefix(name.size());
  return name;
}

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace seekable::layer
