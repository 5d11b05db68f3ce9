// How a layer's tar becomes a tree, and that an image.
#pragma once

#include <string>

namespace seekable::layer {

struct TreeOptions {
  // Nothing lies below, so whiteouts and opaque directories hide nothing: they are dropped.
  bool bottom_layer = false;
  // With more than one, headers are read by another thread than that which builds the tree, and metadata is
  // written by several.
  unsigned threads = 1;
  // For metadata that is not to be held in memory.
  std::string temporary_directory = "/tmp";
};

}  // namespace seekable::layer
