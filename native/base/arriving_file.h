// A file that is still being written, front to back, while others read it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "base/io.h"

namespace seekable {

// A read waits until its bytes are there.
class ArrivingFile final : public ByteSource {
 public:
  // `size`: of the whole, when all of it will be there.
  ArrivingFile(File file, uint64_t size) : file_(std::move(file), 0, size) {}

  uint64_t size() const override { return file_.size(); }
  // kCancelled once stop() was called and not all bytes that it needs are there.
  Status read_at(uint64_t offset, MutableBytes out) const override;
  bool read_cached(uint64_t offset, MutableBytes out) const override;

  // The first `size` bytes are in the file. Never less than before.
  void arrived(uint64_t size);
  // No more bytes will come.
  void stop();

 private:
  bool has(uint64_t end) const { return end <= arrived_.load(std::memory_order_acquire); }

  FileSource file_;
  std::atomic<uint64_t> arrived_{0};
  bool stopped_ = false;  // guarded by mutex_
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
};

}  // namespace seekable
