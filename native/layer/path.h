// Paths as tars write them, and the same paths below the root of an image.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace seekable::layer {

inline constexpr size_t kMaxPath = 4095;  // Linux's PATH_MAX without its NUL

struct CleanPath {
  // "a/b/c": without ".", "..", and leading, trailing or doubled slashes. The root is "".
  std::string text;
  // The raw path began with a slash; "/" itself, a common way to write the root, does not count.
  bool absolute = false;
  // The raw path climbed above the root, and now starts there instead.
  bool clamped = false;
};

// Resolves "." and ".." by their spelling alone, as container runtimes do: "d/../x" is "x" even if there is
// no d.
CleanPath clean_path(std::string_view raw);

// Takes the first component off `rest`, any slashes before it included; "" at the end.
std::string_view next_component(std::string_view& rest);

// "a/b" of "a/b/c", "" of "a". REQUIRES: a clean path.
std::string_view parent_of(std::string_view path);

// "c" of "a/b/c". REQUIRES: a clean path.
std::string_view name_of(std::string_view path);

}  // namespace seekable::layer
