// Which file it is, whatever it is called: names may come to stand for something else at any time.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

namespace seekable::sys {

// No inode has a second one with the same numbers while it exists.
struct Identity {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const Identity&) const = default;
};

struct FileStatus {
  Identity identity;
  uint32_t mode = 0;  // type and permissions, as st_mode
  uint32_t links = 0;
  bool is_folder() const;
};

// Of an open file, O_PATH included; or of a name in a folder, whose link is not followed. Without a value,
// errno says why: of a negative descriptor, that of the call before.
std::optional<FileStatus> status_of(int descriptor);
std::optional<FileStatus> status_at(int folder, const char* name);
// Whether a folder that is open for reading has nothing in it.
bool is_empty(int folder);

// Millions of them, at their bare size.
class IdentitySet {
 public:
  void add(const std::vector<Identity>& more) {
    identities_.insert(identities_.end(), more.begin(), more.end());
    sorted_ = identities_.empty();
  }
  bool has(const Identity& identity) {
    if (!sorted_) std::sort(identities_.begin(), identities_.end());
    sorted_ = true;
    return std::binary_search(identities_.begin(), identities_.end(), identity);
  }

 private:
  std::vector<Identity> identities_;
  bool sorted_ = true;
};

}  // namespace seekable::sys
