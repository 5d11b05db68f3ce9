#include "tar/read_ahead.h"

#include <new>
#include <utility>

namespace seekable::tar {

namespace {

// They bound memory, whatever the entries have: at most one of each batch passes the second.
constexpr size_t kMaxEntries = 128;
constexpr size_t kMaxBytes = size_t{256} << 10;
constexpr size_t kMaxReady = 4;

size_t bytes_of(const Entry& entry) {
  size_t bytes = entry.name.size() + entry.target.size() + entry.data.size() * sizeof(DataRange);
  for (const auto& [name, value] : entry.xattrs) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

ReadAhead::ReadAhead(Reader& reader) : reader_(reader), thread_([this] { read(); }) {}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<std::optional<Entry>> ReadAhead::next() {
  while (used_ == current_.entries.size()) {
    if (current_.error) return Error(*current_.error);
    if (current_.is_last) return std::optional<Entry>();
    current_ = take();
    used_ = 0;
  }
  return std::optional<Entry>(std::move(current_.entries[used_++]));
}

void ReadAhead::read() {
  for (bool wanted = true; wanted;) {
    Batch batch;
    try {  // an exception must not leave a thread
      batch = read_batch();
    } catch (const std::bad_alloc&) {
      batch.is_last = true;
      batch.error = Error{ErrorCode::kNoMemory, "tar", "out of memory", {}};
    }
    const bool is_last = batch.is_last;
    wanted = hand_over(std::move(batch)) && !is_last;
  }
}

ReadAhead::Batch ReadAhead::read_batch() {
  Batch batch;
  for (size_t bytes = 0; batch.entries.size() < kMaxEntries && bytes < kMaxBytes && !batch.is_last;) {
    Result<std::optional<Entry>> entry = reader_.next();
    if (!entry.ok()) batch.error = std::move(entry.error());
    batch.is_last = !entry.ok() || !entry.value();
    if (batch.is_last) break;
    bytes += bytes_of(*entry.value());
    batch.entries.push_back(std::move(*entry.value()));
  }
  return batch;
}

// False when nobody wants more.
bool ReadAhead::hand_over(Batch batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return stopped_ || ready_.size() < kMaxReady; });
  ready_.push_back(std::move(batch));
  changed_.notify_all();
  return !stopped_;
}

ReadAhead::Batch ReadAhead::take() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty(); });
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.notify_all();
  return batch;
}

}  // namespace seekable::tar
