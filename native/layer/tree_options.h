// How a layer's tar becomes a tree.
#pragma once

namespace seekable::layer {

struct TreeOptions {
  // Nothing lies below, so whiteouts and opaque directories hide nothing: they are dropped.
  bool bottom_layer = false;
  // With more than one, headers are read by another thread than that which builds the tree.
  unsigned threads = 1;
};

}  // namespace seekable::layer
