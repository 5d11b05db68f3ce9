// Where a path leads in a tree, its symbolic links followed without ever leaving the root.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "erofs/tree.h"
#include "layer/tree_builder.h"

namespace seekable::layer {

struct Place {
  erofs::InodeId directory = erofs::Tree::kRoot;  // the deepest one that exists
  std::vector<std::string> missing;               // the names below it that don't
  bool followed_links = false;                    // symbolic links led there
};

// Follows every component of `path`, the last one too; ".." in a link's target is the real parent directory.
// kRefused (without `what`): through something that is neither directory nor link; more than 40 links;
// targets of more than 4095 bytes in all, which bounds the work that a short path can cause.
Result<Place> resolve(const TreeBuilder& tree, std::string_view path);

}  // namespace seekable::layer
