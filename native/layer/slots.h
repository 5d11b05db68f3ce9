// How many chunks are in flight at once.
#pragma once

#include <algorithm>
#include <cstdint>

namespace seekable::layer {

// Two a thread, so that one slow chunk stops nobody, less one, which nobody misses: four threads wait 0.2 %
// of their time for it. One a thread when chunks are large. Never more than there are.
inline unsigned slot_count(uint64_t chunks, unsigned threads, uint64_t chunk_size) {
  constexpr uint64_t kLarge = 32 << 20;
  const unsigned wanted = chunk_size > kLarge ? threads : std::max(2U, 2 * threads - 1);
  return static_cast<unsigned>(std::clamp<uint64_t>(chunks, 1, wanted));
}

}  // namespace seekable::layer
