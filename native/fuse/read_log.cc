#include "fuse/read_log.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"

namespace seekable::fuse {

namespace {

constexpr uint64_t kBlockSize = 4096;  // what the kernel reads at least

}  // namespace

ReadLog::ReadLog(uint64_t size) : size_(size), seen_(ceil_divide(size, kBlockSize)) {}

void ReadLog::note(uint64_t offset, uint64_t length) {
  if (length == 0) return;
  const std::chrono::duration<double, std::milli> since = std::chrono::steady_clock::now() - begin_;
  const std::lock_guard lock(mutex_);
  for (uint64_t block = offset / kBlockSize; block <= (offset + length - 1) / kBlockSize; ++block) {
    if (seen_[block]) continue;
    seen_[block] = true;
    const uint64_t from = block * kBlockSize;
    const uint64_t count = std::min(kBlockSize, size_ - from);
    if (!reads_.empty() && reads_.back().offset + reads_.back().length == from) {
      reads_.back().length += count;
    } else {
      reads_.push_back({from, count, since.count()});
    }
  }
}

std::vector<FirstRead> ReadLog::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(reads_, {});
}

}  // namespace seekable::fuse
