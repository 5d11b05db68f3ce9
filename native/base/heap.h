// What the C library does with memory that was freed.
#pragma once

#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace seekable {

// Gives freed memory back to the system: glibc keeps most of it, which pays only if as much is needed again.
inline void return_freed_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace seekable
