// Checksums of frames. SHA-512 is three times as fast when it has eight frames at once, so some are held
// back until there are enough.
#pragma once

#include <deque>
#include <mutex>
#include <vector>

#include "base/buffer.h"
#include "hash/messages.h"

namespace seekable::layer {

// add() may be called by several threads at once.
class FrameHasher {
 public:
  // The digest of frame i goes to digests + 64 * i, at the latest in finish().
  explicit FrameHasher(uint8_t* digests) : digests_(digests) {}
  // Room for the frames held back, of at most `frame_size` bytes. Without it each is hashed at once, which is
  // right for a few frames and for large ones.
  Status allocate(uint64_t frames, size_t frame_size);
  // Hashes the frame at the start of `buffer`, or keeps the buffer for now and puts a free one in its place.
  void add(uint64_t index, Buffer& buffer, size_t length);
  // Hashes what is still held. No other thread may be in add().
  void finish();

 private:
  struct Held {
    uint64_t index = 0;
    size_t length = 0;
    Buffer buffer;
  };
  void fill_lanes();
  void step(std::unique_lock<std::mutex>& lock);
  void store(uint64_t index, const hash::Sha512Digest& digest);

  uint8_t* const digests_;
  std::mutex mutex_;
  bool is_hashing_ = false;  // one thread uses the lanes
  hash::Sha512Lanes lanes_;
  std::vector<Held> held_;      // places for frames; the lanes know them by their number
  std::vector<size_t> free_;    // places whose buffer is free
  std::deque<size_t> waiting_;  // places whose frame is in no lane yet
};

}  // namespace seekable::layer
