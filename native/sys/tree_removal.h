// Takes away what a run made, and nothing else.
#pragma once

#include "base/error.h"
#include "base/io.h"
#include "sys/identity.h"

namespace seekable::sys {

// Removes everything beneath `root` that is in `made`, which the root itself need not be. What is not in it
// stays, and so do the folders that lead there: somebody put it there meanwhile. kIo names what the system
// refused.
Status remove_made(const File& root, IdentitySet& made);

// Removes everything beneath `root`, and follows no link. kIo as above.
Status remove_all(const File& root);

}  // namespace seekable::sys
