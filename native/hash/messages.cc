#include "hash/messages.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "hash/constants.h"

namespace seekable::hash {

namespace {
// Fewer lanes in use than this are slower than one message after the other.
constexpr size_t kLeastUsed = 3;
}  // namespace

void Sha512Lanes::add(Bytes message, size_t tag) {
  size_t i = 0;
  while (lanes_[i].is_used) ++i;
  Lane& lane = lanes_[i];
  const size_t rest = message.size() % kChunk;
  lane.is_used = true;
  lane.in_tail = false;
  lane.tag = tag;
  lane.next = message.data();
  lane.chunks = message.size() / kChunk;
  std::copy(message.end() - static_cast<ptrdiff_t>(rest), message.end(), lane.tail);
  lane.tail_chunks = pad_message<uint64_t>(lane.tail, rest, message.size());
  for (size_t j = 0; j < 8; ++j) state_[j * kernel_.lanes + i] = Sha2<uint64_t>::kInitial[j];
  if (lane.chunks == 0) lane.begin_tail();
  ++used_;
}

bool Sha512Lanes::Lane::begin_tail() {
  if (in_tail) return false;
  in_tail = true;
  next = tail;
  chunks = tail_chunks;
  return true;
}

size_t Sha512Lanes::shortest() const {
  size_t least = std::numeric_limits<size_t>::max();
  for (size_t i = 0; i < kernel_.lanes; ++i) {
    if (lanes_[i].is_used) least = std::min(least, lanes_[i].chunks);
  }
  return least;
}

void Sha512Lanes::compress(size_t chunks) {
  const uint8_t* messages[kMaxLanes];
  const Lane* some = std::ranges::find_if(lanes_, &Lane::is_used);
  for (size_t i = 0; i < kernel_.lanes; ++i) {
    // A free lane hashes what another one does, for nothing.
    messages[i] = lanes_[i].is_used ? lanes_[i].next : some->next;
  }
  kernel_.compress(state_, messages, chunks);
  for (size_t i = 0; i < kernel_.lanes; ++i) {
    if (!lanes_[i].is_used) continue;
    lanes_[i].next += chunks * kChunk;
    lanes_[i].chunks -= chunks;
  }
}

void sha512_each(std::span<const Bytes> messages, std::span<Sha512Digest> digests) {
  Sha512Lanes lanes;
  if (lanes.lanes() < kLeastUsed || messages.size() < kLeastUsed) {
    std::transform(messages.begin(), messages.end(), digests.begin(), sha512);
    return;
  }
  std::vector<size_t> order(messages.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // Long ones first, so that the lanes run out of work together.
  std::ranges::sort(order, std::ranges::greater(), [&](size_t i) { return messages[i].size(); });
  const auto store = [&](size_t tag, const Sha512Digest& digest) { digests[tag] = digest; };
  for (const size_t i : order) {
    while (lanes.is_full()) lanes.step(store);
    lanes.add(messages[i], i);
  }
  while (lanes.used() > 0) lanes.step(store);
}

}  // namespace seekable::hash
