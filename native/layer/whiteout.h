// Names with a meaning of their own in an OCI layer: `.wh.x` hides x of the layers below, `.wh..wh..opq`
// hides all that they have in its directory, and any other `.wh..wh.*` is AUFS's own bookkeeping.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace seekable::layer {

enum class NameKind : uint8_t { kPlain, kWhiteout, kOpaque, kBookkeeping };

struct LayerName {
  NameKind kind;
  std::string_view name;  // the last component; of a whiteout, the name that it hides
};

// True for every name that a layer can't give to a file.
bool is_reserved(std::string_view name);

// What a clean, non-root path means by its components. kRefused (without `what`) if it hides no name at all,
// or leads through a whiteout.
Result<LayerName> read_layer_name(std::string_view path);

}  // namespace seekable::layer
