#include "hash/messages.h"

#include <algorithm>
#include <array>
#include <vector>

#include "hash/constants.h"
#include "hash/kernels.h"
#include "hash/message.h"

namespace seekable::hash {

namespace {

using Word = uint64_t;
constexpr size_t kChunk = kChunkSize<Word>;
// Fewer lanes in use than this are slower than one message after the other.
constexpr size_t kLeastBusy = 3;

// Messages in the lanes of a kernel: each lane takes the next message when it is through with one.
class Lanes {
 public:
  Lanes(const Kernel<Word>& kernel, std::span<const Bytes> messages, std::span<Sha512Digest> digests)
      : kernel_(kernel), messages_(messages), digests_(digests) {
    for (size_t i = 0; i < messages.size(); ++i) order_.push_back(i);
    // Long ones first, so that the lanes run out of work together.
    std::sort(order_.begin(), order_.end(),
              [&](size_t a, size_t b) { return messages[a].size() < messages[b].size(); });
  }

  void run() {
    for (size_t lane = 0; lane < kernel_.lanes; ++lane) refill(lane);
    while (busy_ >= kLeastBusy) step();
    for (size_t lane = 0; lane < kernel_.lanes; ++lane) {
      if (lanes_[lane].chunks > 0) finish(lane);
    }
  }

 private:
  struct Lane {
    size_t message = 0;
    const uint8_t* next = nullptr;
    size_t chunks = 0;  // whole ones that are left; 0: the lane is idle
  };

  // All busy lanes together, as far as the shortest goes.
  void step() {
    const uint8_t* pointers[kMaxLanes];
    const uint8_t* some = nullptr;
    size_t chunks = SIZE_MAX;
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      if (lanes_[i].chunks == 0) continue;
      some = lanes_[i].next;
      chunks = std::min(chunks, lanes_[i].chunks);
    }
    // Idle lanes read what another one reads. The shortest remainder is as long as that has at least.
    for (size_t i = 0; i < kernel_.lanes; ++i) pointers[i] = lanes_[i].chunks == 0 ? some : lanes_[i].next;
    kernel_.compress(state_, pointers, chunks);
    for (size_t i = 0; i < kernel_.lanes; ++i) {
      Lane& lane = lanes_[i];
      if (lane.chunks == 0) continue;
      lane.next += chunks * kChunk;
      lane.chunks -= chunks;
      if (lane.chunks > 0) continue;
      finish(i);
      refill(i);
    }
  }

  // Gives the lane the next message that has a whole chunk; shorter ones are dealt with on the way.
  void refill(size_t index) {
    Lane& lane = lanes_[index];
    while (lane.chunks == 0 && !order_.empty()) {
      lane.message = order_.back();
      order_.pop_back();
      const Bytes message = messages_[lane.message];
      lane.next = message.data();
      lane.chunks = message.size() / kChunk;
      for (size_t j = 0; j < 8; ++j) state_[j * kernel_.lanes + index] = Sha2<Word>::kInitial[j];
      if (lane.chunks > 0) ++busy_;
      else digest(index);
    }
  }

  // Takes the lane's message to its end alone.
  void finish(size_t index) {
    --busy_;
    digest(index);
    lanes_[index].chunks = 0;
  }

  void digest(size_t index) {
    const Lane& lane = lanes_[index];
    const Bytes message = messages_[lane.message];
    std::array<Word, 8> state;
    for (size_t j = 0; j < 8; ++j) state[j] = state_[j * kernel_.lanes + index];
    const uint8_t* rest = lane.next;
    compress_sha512_portable(state.data(), &rest, lane.chunks);
    uint8_t tail[2 * kChunk];
    const size_t used = message.size() % kChunk;
    if (used > 0) std::memcpy(tail, message.data() + message.size() - used, used);
    const uint8_t* end = tail;
    compress_sha512_portable(state.data(), &end, pad_message<Word>(tail, used, message.size()));
    store_digest(state.data(), 1, digests_[lane.message].data());
  }

  const Kernel<Word>& kernel_;
  const std::span<const Bytes> messages_;
  const std::span<Sha512Digest> digests_;
  std::vector<size_t> order_;  // of messages that are left, the next one last
  std::array<Lane, kMaxLanes> lanes_;
  size_t busy_ = 0;
  alignas(64) Word state_[8 * kMaxLanes] = {};
};

}  // namespace

void sha512_each(std::span<const Bytes> messages, std::span<Sha512Digest> digests) {
  const Kernel<Word>& kernel = kernels().sha512.widest();
  if (kernel.lanes >= kLeastBusy && messages.size() >= kLeastBusy) {
    Lanes(kernel, messages, digests).run();
  } else {
    std::transform(messages.begin(), messages.end(), digests.begin(), sha512);
  }
}

}  // namespace seekable::hash
