#include "layer/checked_frames.h"

#include <algorithm>
#include <new>

#include "layer/frame_check.h"

namespace seekable::layer {

namespace {

// As many as SHA-512 has lanes, but not when frames are so large that the memory counts.
constexpr uint64_t kLanes = 8;
constexpr uint64_t kGroupBytes = 32 << 20;

uint64_t largest_frame(const FrameTable& table) {
  uint64_t largest = 1;
  for (size_t i = 0; i + 1 < table.offsets.size(); ++i) {
    largest = std::max(largest, table.offsets[i + 1] - table.offsets[i]);
  }
  return largest;
}

}  // namespace

CheckedFrames::CheckedFrames(const ByteSource& blob, const FrameTable& table, unsigned threads,
                             unsigned taken)
    : blob_(blob), table_(table), frames_(table.offsets.size() - 1), threads_(threads), buffers_(taken) {}

Status CheckedFrames::allocate() {
  const uint64_t largest = largest_frame(table_);
  largest_group_ = std::clamp<uint64_t>(kGroupBytes / largest, 1, kLanes);
  // The next group is there before the last frames of this one are taken.
  if (largest_group_ > 1) buffers_.resize(buffers_.size() + threads_ + largest_group_);
  if (buffers_.size() > frames_) buffers_.resize(std::max<uint64_t>(frames_, 1));
  for (Buffer& buffer : buffers_) buffer = TRY(Buffer::allocate(largest));
  return ok();
}

Result<Bytes> CheckedFrames::take(uint64_t index) {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (!checking_ && is_due(index)) {
      check_group(lock);
    } else if (index < checked_) {
      return Bytes(frame(index));
    } else if (error_) {
      return *error_;
    } else {
      changed_.wait(lock);
    }
  }
}

void CheckedFrames::release(uint64_t index) {
  const std::lock_guard lock(mutex_);
  released_ = index + 1;
}

// Before the others run out of frames, but not for a few only.
bool CheckedFrames::is_due(uint64_t index) const {
  if (error_ || checked_ == frames_) return false;
  if (index >= checked_) return true;
  const bool is_whole = group_size() == std::min<uint64_t>(largest_group_, frames_ - checked_);
  return largest_group_ > 1 && is_whole && checked_ - index <= threads_;
}

size_t CheckedFrames::group_size() const {
  const uint64_t room = released_ + buffers_.size() - checked_;
  return std::min({room, frames_ - checked_, static_cast<uint64_t>(largest_group_)});
}

void CheckedFrames::check_group(std::unique_lock<std::mutex>& lock) {
  checking_ = true;
  const uint64_t first = checked_;
  const size_t count = group_size();
  lock.unlock();
  std::vector<Status> statuses;
  try {
    statuses = check(first, count);
  } catch (const std::bad_alloc&) {  // the others wait for this group
    lock.lock();
    checking_ = false;
    changed_.notify_all();
    throw;
  }
  lock.lock();
  checking_ = false;
  for (Status& status : statuses) {
    if (!status.ok()) {
      error_ = std::move(status.error());
      break;
    }
    ++checked_;
  }
  changed_.notify_all();
}

std::vector<Status> CheckedFrames::check(uint64_t first, size_t count) {
  std::vector<uint64_t> indexes;
  std::vector<Bytes> frames;
  std::vector<Status> statuses;
  for (uint64_t index = first; index < first + count; ++index) {
    const MutableBytes bytes = frame(index);
    statuses.push_back(blob_.read_at(table_.offsets[index], bytes));
    indexes.push_back(index);
    frames.push_back(bytes);
  }
  check_sums(table_, indexes, frames, statuses);
  return statuses;
}

MutableBytes CheckedFrames::frame(uint64_t index) {
  const uint64_t length = table_.offsets[index + 1] - table_.offsets[index];
  return buffers_[index % buffers_.size()].first(length);
}

}  // namespace seekable::layer
