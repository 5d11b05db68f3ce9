// What was read of a layer's file, in the order of first use: for traces of programs.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

namespace seekable::fuse {

// A piece that was read for the first time.
struct FirstRead {
  uint64_t offset;
  uint64_t length;
  double milliseconds;  // since the log began
};

// Every member may be called from any thread. Memory: a bit for each 4 KiB of the file, and what was not
// taken.
class ReadLog {
 public:
  explicit ReadLog(uint64_t size);
  // Notes the blocks of [offset, offset + length) that were not read before. REQUIRES: the range is in the
  // file.
  void note(uint64_t offset, uint64_t length);
  // What was noted since the last call.
  std::vector<FirstRead> take();

 private:
  const uint64_t size_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::vector<bool> seen_;
  std::vector<FirstRead> reads_;
};

}  // namespace seekable::fuse
