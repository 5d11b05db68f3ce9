// System calls that Node lacks. Nothing here knows what they are used for.
#pragma once

#include "base/error.h"

namespace seekable::sys {

// flock(2), exclusive, without waiting: false when another open file holds the lock.
Result<bool> try_lock(int descriptor);

}  // namespace seekable::sys
