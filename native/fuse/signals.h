// Whether the caller of a request is being killed.
#pragma once

#include <cstdint>

namespace seekable::fuse {

// Whether a signal waits for this thread that will end its process: it is neither blocked, ignored nor
// caught. False for a thread that can't be looked at.
bool is_dying(uint32_t thread);

}  // namespace seekable::fuse
