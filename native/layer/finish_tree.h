// The last step from entries to a tree: all that depends on the whole layer and not on the order of its
// entries.
#pragma once

#include "base/error.h"
#include "erofs/tree.h"
#include "layer/tree_builder.h"
#include "layer/tree_options.h"

namespace seekable::layer {

// Names sorted, whiteouts in overlay form, link counts, epoch, times of inodes without an entry.
// kRefused, naming the path, if the xattrs of one inode are more than EROFS can hold.
Result<erofs::Tree> finish_tree(Draft draft, const TreeOptions& options);

}  // namespace seekable::layer
