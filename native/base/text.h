// Text that people read, made of bytes that others chose.
#pragma once

#include <string>
#include <string_view>

namespace seekable {

// `raw` on one line of printable ASCII: every other byte, and the backslash, becomes \xNN (lower-case hex).
// Reversible, so two names that differ never look alike; safe to print to a terminal.
std::string printable(std::string_view raw);

}  // namespace seekable
