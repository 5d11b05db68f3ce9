// What was tolerated in a layer's entries.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace seekable::layer {

// Keeps the first twenty: a hostile tar can earn one per entry.
class Warnings {
 public:
  // `entry` is the raw name.
  void add(std::string_view entry, std::string_view text);
  // Appends one line each, and how many more there were.
  void append_to(std::vector<std::string>& lines) const;

 private:
  std::vector<std::string> lines_;
  uint64_t left_out_ = 0;
};

// Raw bytes for a message: printable, and cut when they are many, since a PAX header can hold megabytes of
// name.
std::string quoted(std::string_view raw);

// How errors and warnings call an entry, "entry NAME".
std::string entry_label(std::string_view name);

}  // namespace seekable::layer
