// Extended attributes on disk: the body behind an inode, and the entries that many inodes share.
#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "erofs/tree.h"

namespace seekable::erofs {

// Whether EROFS can hold an attribute of this full name ("user.k"): user, trusted and security with something
// after the dot, and the two POSIX ACLs.
bool has_xattr_form(std::string_view name);

// The pairs of name and value that save metadata when they are stored once, between superblock and root
// inode. Its keys are views of the tree's strings, which outlive it.
class SharedXattrs {
 public:
  // Takes note of the attributes of one inode.
  void count(const Xattrs& xattrs);
  // Chooses among all pairs counted, the most used first, and lays them out from byte `offset` of the image.
  // REQUIRES: offset is a multiple of 4; called once, after the last count().
  void choose(uint64_t offset);

  // The id of a chosen pair; xattr_block 0 makes it the byte offset in the image / 4.
  std::optional<uint32_t> id_of(std::string_view name, std::string_view value) const;
  // What lies at the offset given to choose().
  const std::vector<uint8_t>& area() const { return area_; }

 private:
  struct Pair {
    std::string_view name;
    std::string_view value;
    auto operator<=>(const Pair&) const = default;
  };
  struct PairHash {
    size_t operator()(const Pair& pair) const;
  };

  std::unordered_map<Pair, uint32_t, PairHash> uses_;  // emptied by choose()
  std::unordered_map<Pair, uint32_t, PairHash> ids_;
  std::vector<uint8_t> area_;
};

// Bytes of the body behind an inode with these attributes. kUnsupported when EROFS cannot hold them; `what`
// of that error is left to the caller, who knows the path.
Result<uint32_t> xattr_body_size(const Xattrs& xattrs, const SharedXattrs& shared);

// The body itself. REQUIRES: xattr_body_size() of the same arguments is `size`.
std::vector<uint8_t> xattr_body(const Xattrs& xattrs, const SharedXattrs& shared, uint32_t size);

}  // namespace seekable::erofs
