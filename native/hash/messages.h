// SHA-512 of messages of different lengths in step: a lane whose message ends takes another one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bytes.h"
#include "hash/kernels.h"
#include "hash/message.h"
#include "hash/sha2.h"

namespace seekable::hash {

// The lanes of the widest kernel, for callers whose messages come one after the other.
class Sha512Lanes {
 public:
  Sha512Lanes() : kernel_(kernels().sha512.widest()) {}

  // How many messages are hashed at once; 1 where one after the other is as fast.
  size_t lanes() const { return kernel_.lanes; }
  size_t used() const { return used_; }
  bool is_full() const { return used_ == kernel_.lanes; }

  // Gives `message`, which must stay where it is, to a free lane; `tag` names it. REQUIRES: !is_full().
  void add(Bytes message, size_t tag);
  // Goes on as far as the shortest rest of a message, or of its padding, and calls done(tag, digest) for each
  // message that ends with that: at least one in two steps. REQUIRES: used() > 0.
  template <typename Done>
  void step(Done&& done) {
    compress(shortest());
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      Lane& lane = lanes_[i];
      if (!lane.is_used || lane.chunks > 0) continue;
      if (lane.begin_tail()) continue;
      Sha512Digest digest;
      store_digest(state_ + i, kernel_.lanes, digest.data());
      lane.is_used = false;
      --used_;
      done(lane.tag, digest);
    }
  }

 private:
  static constexpr size_t kChunk = kChunkSize<uint64_t>;

  struct Lane {
    bool is_used = false;
    bool in_tail = false;
    size_t tag = 0;
    const uint8_t* next = nullptr;  // what is hashed now …
    size_t chunks = 0;              // … and how much of it is left
    size_t tail_chunks = 0;
    alignas(64) uint8_t tail[2 * kChunk];  // the message's last bytes and the padding
    // False when the tail is done as well.
    bool begin_tail();
  };

  size_t shortest() const;
  void compress(size_t chunks);

  const Kernel<uint64_t> kernel_;
  size_t used_ = 0;
  Lane lanes_[kMaxLanes];
  alignas(64) uint64_t state_[8 * kMaxLanes];
};

// Writes the SHA-512 of messages[i] to digests[i]. Pays off from three messages on that are alike in length;
// most for a multiple of eight.
void sha512_each(std::span<const Bytes> messages, std::span<Sha512Digest> digests);

}  // namespace seekable::hash
