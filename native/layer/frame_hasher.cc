#include "layer/frame_hasher.h"

#include <algorithm>

namespace seekable::layer {

namespace {
// Frames held back: they cost memory, and the last two of eight lanes would win little.
constexpr size_t kMaxFrames = 6;
constexpr size_t kMaxBytes = 32 << 20;
}  // namespace

Status FrameHasher::allocate(uint64_t frames, size_t frame_size) {
  const size_t places = std::min(lanes_.lanes(), kMaxFrames);
  if (places == 1 || frames < 2 * places || frame_size > kMaxBytes / places) return ok();
  held_.resize(places);
  for (size_t i = 0; i < places; ++i) {
    held_[i].buffer = TRY(Buffer::allocate(frame_size));
    free_.push_back(i);
  }
  return ok();
}

void FrameHasher::add(uint64_t index, Buffer& buffer, size_t length) {
  std::unique_lock lock(mutex_);
  if (free_.empty()) {
    lock.unlock();
    store(index, hash::sha512(buffer.first(length)));
    return;
  }
  const size_t place = free_.back();
  free_.pop_back();
  held_[place].index = index;
  held_[place].length = length;
  std::swap(held_[place].buffer, buffer);
  waiting_.push_back(place);
  if (is_hashing_) return;
  is_hashing_ = true;
  for (fill_lanes(); lanes_.used() == held_.size(); fill_lanes()) step(lock);
  is_hashing_ = false;
}

void FrameHasher::finish() {
  std::unique_lock lock(mutex_);
  for (fill_lanes(); lanes_.used() > 0; fill_lanes()) step(lock);
}

void FrameHasher::fill_lanes() {
  for (; !lanes_.is_full() && !waiting_.empty(); waiting_.pop_front()) {
    Held& held = held_[waiting_.front()];
    lanes_.add(held.buffer.first(held.length), waiting_.front());
  }
}

// Until a frame is done. Others may add frames meanwhile.
void FrameHasher::step(std::unique_lock<std::mutex>& lock) {
  std::vector<size_t> done;
  lock.unlock();
  lanes_.step([&](size_t place, const hash::Sha512Digest& digest) {
    store(held_[place].index, digest);
    done.push_back(place);
  });
  lock.lock();
  free_.insert(free_.end(), done.begin(), done.end());
}

void FrameHasher::store(uint64_t index, const hash::Sha512Digest& digest) {
  std::ranges::copy(digest, digests_ + index * digest.size());
}

}  // namespace seekable::layer
