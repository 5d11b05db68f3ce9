// A finished Merkle tree as JavaScript sees it.
#pragma once

#include <napi.h>

#include "verity/tree.h"

namespace seekable::binding {

// {tree, root, dataBlocks}
Napi::Value tree_to_js(Napi::Env env, verity::Tree tree);

}  // namespace seekable::binding
