// How a layer's tar becomes a tree.
#pragma once

namespace seekable::layer {

struct TreeOptions {
  // Nothing lies below, so whiteouts and opaque directories hide nothing: they are dropped.
  bool bottom_layer = false;
};

}  // namespace seekable::layer
