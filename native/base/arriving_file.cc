#include "base/arriving_file.h"

#include "base/checked.h"

namespace seekable {

Status ArrivingFile::read_at(uint64_t offset, MutableBytes out) const {
  const auto end = checked_add(offset, out.size());
  if (end && *end <= size() && !has(*end)) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return has(*end) || stopped_; });
    if (!has(*end)) return cancelled();
  }
  return file_.read_at(offset, out);  // which refuses what lies outside
}

bool ArrivingFile::read_cached(uint64_t offset, MutableBytes out) const {
  const auto end = checked_add(offset, out.size());
  return end && has(*end) && file_.read_cached(offset, out);
}

// Under the lock, so that no reader misses it between its look and its wait.
void ArrivingFile::arrived(uint64_t size) {
  {
    const std::lock_guard lock(mutex_);
    arrived_.store(size, std::memory_order_release);
  }
  changed_.notify_all();
}

void ArrivingFile::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
}

}  // namespace seekable
