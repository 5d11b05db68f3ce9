// The frames of a blob in order, read ahead in groups and compared with their checksums.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <vector>

#include "base/buffer.h"
#include "base/io.h"
#include "layer/decode_image.h"

namespace seekable::layer {

class CheckedFrames {
 public:
  // Threads that take frames, and how many frames are taken at once at most. `blob` and `table` outlive this.
  CheckedFrames(const ByteSource& blob, const FrameTable& table, unsigned threads, unsigned taken);

  Status allocate();
  // A frame that has its checksum; its bytes are there until release(). Frames are taken in order, each once,
  // by several threads at once.
  Result<Bytes> take(uint64_t index);
  // In order.
  void release(uint64_t index);

 private:
  // With `lock` held, but not while it reads and hashes.
  void check_group(std::unique_lock<std::mutex>& lock);
  std::vector<Status> check(uint64_t first, size_t count);
  size_t group_size() const;
  bool is_due(uint64_t index) const;
  MutableBytes frame(uint64_t index);

  const ByteSource& blob_;
  const FrameTable& table_;
  const uint64_t frames_;
  const unsigned threads_;
  size_t largest_group_ = 1;
  std::vector<Buffer> buffers_;  // frame i is in i % buffers_.size()
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t released_ = 0;  // frames before this one are done with
  uint64_t checked_ = 0;   // frames before this one are as they should be
  bool checking_ = false;
  std::optional<Error> error_;  // of frame checked_
};

}  // namespace seekable::layer
