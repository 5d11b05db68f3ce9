// The image in a seekable blob as a source: frames are checked and decoded when they are read, and those
// behind them meanwhile.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/buffer.h"
#include "base/io.h"
#include "layer/decode_image.h"
#include "zstd/frame.h"

namespace seekable::layer {

class DecodedSource final : public ByteSource {
 public:
  // Keeps the chunks read last and those to come, some 64 MB of them or a single larger one. kUsage for a
  // table whose parts differ in length.
  static Result<std::shared_ptr<DecodedSource>> open(std::shared_ptr<const ByteSource> blob, FrameTable table,
                                                     unsigned threads);
  ~DecodedSource() override;

  uint64_t size() const override { return table_.starts.back(); }
  // Besides what ByteSource says, the errors of decode_frame().
  Status read_at(uint64_t offset, MutableBytes out) const override;
  Result<bool> lend(uint64_t offset, uint64_t length,
                    const std::function<Status(Bytes)>& take) const override;

 private:
  enum class State { kEmpty, kWaiting, kReady, kFailed };
  struct Slot {
    State state = State::kEmpty;
    uint64_t frame = 0;
    uint64_t used = 0;  // when it was last asked for
    bool was_read = false;
    unsigned readers = 0;  // who copy out of it just now
    Buffer stored;         // the frame
    Buffer chunk;
    std::optional<Error> error;
  };

  DecodedSource(std::shared_ptr<const ByteSource> blob, FrameTable table, size_t slots)
      : blob_(std::move(blob)), table_(std::move(table)), slots_(slots), ahead_(slots / 2) {}

  uint64_t frame_at(uint64_t position) const;
  // With mutex_ held: the slot of a frame, queued for decoding if it is new; null when every slot is busy,
  // or, of a frame `ahead`, holds what is about to be read.
  Slot* request(uint64_t frame, bool ahead) const;
  Slot* find(uint64_t frame) const;
  // The slot that can be spared best; null if none can.
  Slot* spare(bool ahead) const;
  void request_ahead(uint64_t frame) const;
  // Calls `take` with the frame's chunk, which stays where it is for so long.
  Status use(uint64_t frame, const std::function<Status(Bytes)>& take) const;
  void work();
  // With `lock` held, but not while they read, hash and decode.
  void check_queued(std::unique_lock<std::mutex>& lock);
  void decode_next(std::unique_lock<std::mutex>& lock, Result<zstd::FrameDecoder>& decoder);
  Status read(Slot& slot) const;
  Status decode(Slot& slot, Result<zstd::FrameDecoder>& decoder) const;
  void finish(Slot& slot, Status status) const;
  uint64_t stored_size(uint64_t frame) const { return table_.offsets[frame + 1] - table_.offsets[frame]; }
  uint64_t chunk_size(uint64_t frame) const { return table_.starts[frame + 1] - table_.starts[frame]; }

  const std::shared_ptr<const ByteSource> blob_;
  const FrameTable table_;
  std::vector<std::thread> threads_;
  mutable std::mutex mutex_;
  mutable std::condition_variable wanted_;   // a slot was queued or checked, or the end has come
  mutable std::condition_variable changed_;  // a slot was decoded, or let go
  mutable std::vector<Slot> slots_;
  mutable std::deque<Slot*> queue_;    // frames to read and to compare with their checksums
  mutable std::deque<Slot*> checked_;  // frames to decode
  mutable uint64_t clock_ = 0;
  mutable uint64_t ahead_end_ = 0;  // frames below were requested ahead, or passed
  const uint64_t ahead_;
  bool ending_ = false;
};

}  // namespace seekable::layer
