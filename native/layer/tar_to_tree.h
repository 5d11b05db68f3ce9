// A layer's tar → the tree that a container sees, by the policy of docs/format/tar-policy.md: whiteouts in
// overlay form, hard links resolved, parents implied, names normalised.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "base/job.h"
#include "erofs/tree.h"
#include "layer/tree_options.h"

namespace seekable::layer {

struct LayerTree {
  erofs::Tree tree;
  std::vector<std::string> warnings;
};

// `tar` is uncompressed; extents of the tree point into it.
Result<LayerTree> tar_to_tree(const ByteSource& tar, Job& job, const TreeOptions& options = {});

}  // namespace seekable::layer
