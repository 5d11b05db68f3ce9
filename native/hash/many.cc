// Digests of many equal blocks: deals the blocks out to the lanes of a kernel, group by group.
#include <algorithm>

#include "hash/constants.h"
#include "hash/kernels.h"
#include "hash/message.h"
#include "hash/sha2.h"

namespace seekable::hash {

namespace {

constexpr size_t kMaxSalt = 256;

// salt || block || padding is cut into a head (chunks that begin in the salt), a body that is read where it
// lies, and a tail (the rest of the block and the padding). Heads and tails are put together in buffers.
template <typename Word>
class LaneHasher {
 public:
  LaneHasher(const Kernel<Word>& kernel, size_t block_size, Bytes salt)
      : kernel_(kernel),
        head_size_((salt.size() + kChunk - 1) / kChunk * kChunk),
        body_start_(head_size_ - salt.size()),
        body_chunks_((block_size - body_start_) / kChunk),
        tail_start_(body_start_ + body_chunks_ * kChunk),
        tail_used_(block_size - tail_start_) {
    for (size_t i = 0; i < kernel.lanes; ++i) {
      std::copy(salt.begin(), salt.end(), heads_[i]);
      head_pointers_[i] = heads_[i];
      tail_pointers_[i] = tails_[i];
      tail_chunks_ = pad_message<Word>(tails_[i], tail_used_, salt.size() + block_size);
    }
  }

  // Leaves the digest of blocks[i], for each lane i, in state(i).
  void hash(const uint8_t* const* blocks) {
    const uint8_t* bodies[kMaxLanes];
    for (size_t j = 0; j < 8; ++j) {
      std::fill_n(state_ + j * kernel_.lanes, kernel_.lanes, Sha2<Word>::kInitial[j]);
    }
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      std::copy_n(blocks[i], body_start_, heads_[i] + head_size_ - body_start_);
      bodies[i] = blocks[i] + body_start_;
      std::copy_n(blocks[i] + tail_start_, tail_used_, tails_[i]);
    }
    kernel_.compress(state_, head_pointers_, head_size_ / kChunk);
    kernel_.compress(state_, bodies, body_chunks_);
    kernel_.compress(state_, tail_pointers_, tail_chunks_);
  }

  const Word* state(size_t lane) const { return state_ + lane; }

 private:
  static constexpr size_t kChunk = kChunkSize<Word>;

  const Kernel<Word>& kernel_;
  const size_t head_size_, body_start_, body_chunks_, tail_start_, tail_used_;
  size_t tail_chunks_ = 0;
  alignas(64) Word state_[8 * kMaxLanes];
  alignas(64) uint8_t heads_[kMaxLanes][kMaxSalt];
  alignas(64) uint8_t tails_[kMaxLanes][2 * kChunk];
  const uint8_t* head_pointers_[kMaxLanes];
  const uint8_t* tail_pointers_[kMaxLanes];
};

template <typename Word>
void hash_with(const Kernel<Word>& kernel, const uint8_t* blocks, size_t block_size, size_t count, Bytes salt,
               uint8_t* out) {
  LaneHasher<Word> hasher(kernel, block_size, salt);
  for (size_t first = 0; first < count; first += kernel.lanes) {
    const size_t used = std::min(kernel.lanes, count - first);
    const uint8_t* group[kMaxLanes];
    // Lanes without a block of their own get the last one again.
    for (size_t i = 0; i < kernel.lanes; ++i)
      group[i] = blocks + (first + std::min(i, used - 1)) * block_size;
    hasher.hash(group);
    for (size_t i = 0; i < used; ++i) {
      store_digest(hasher.state(i), kernel.lanes, out + (first + i) * 8 * sizeof(Word));
    }
  }
}

template <typename Word>
void hash_all(const KernelList<Word>& kernels, const uint8_t* blocks, size_t block_size, size_t count,
              Bytes salt, uint8_t* out) {
  while (count > 0) {
    // Whole groups, and then what is left may suit another kernel.
    const Kernel<Word>& kernel = kernels.best_for(count);
    const size_t now = count < kernel.lanes ? count : count / kernel.lanes * kernel.lanes;
    hash_with(kernel, blocks, block_size, now, salt, out);
    blocks += now * block_size;
    out += now * 8 * sizeof(Word);
    count -= now;
  }
}

}  // namespace

void hash_many(Algorithm algorithm, const uint8_t* blocks, size_t block_size, size_t count, Bytes salt,
               uint8_t* out) {
  if (algorithm == Algorithm::kSha512) {
    hash_all(kernels().sha512, blocks, block_size, count, salt, out);
  } else {
    hash_all(kernels().sha256, blocks, block_size, count, salt, out);
  }
}

}  // namespace seekable::hash
