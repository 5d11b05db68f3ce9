#include "layer/decoded_source.h"

#include <algorithm>

#include "zstd/frame.h"

namespace seekable::layer {

namespace {

constexpr uint64_t kKeptBytes = 64 << 20;

uint64_t largest_chunk(const std::vector<uint64_t>& starts) {
  uint64_t largest = 1;
  for (size_t i = 0; i + 1 < starts.size(); ++i) largest = std::max(largest, starts[i + 1] - starts[i]);
  return largest;
}

}  // namespace

Result<std::shared_ptr<DecodedSource>> DecodedSource::open(std::shared_ptr<const ByteSource> blob,
                                                           FrameTable table, unsigned threads) {
  const size_t frames = table.offsets.size() - 1;
  if (table.offsets.empty() || table.starts.size() != table.offsets.size() ||
      table.checksums.size() != frames * table.checksum_size || threads == 0) {
    return usage("frame table", "its parts differ in length");
  }
  // Half of them for frames ahead, two for each thread; half for frames behind, which files may still lie in.
  const size_t slots = std::clamp<uint64_t>(kKeptBytes / largest_chunk(table.starts), 1, 4 * threads);
  std::shared_ptr<DecodedSource> source(new DecodedSource(std::move(blob), std::move(table), slots));
  for (unsigned i = 0; i < threads; ++i) source->threads_.emplace_back([raw = source.get()] { raw->work(); });
  return source;
}

DecodedSource::~DecodedSource() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wanted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

Status DecodedSource::read_at(uint64_t offset, MutableBytes out) const {
  if (offset > size() || out.size() > size() - offset)
    return corrupt("blob", "ends before what was expected of it");
  for (uint64_t frame = out.empty() ? 0 : frame_at(offset); !out.empty(); ++frame) {
    const size_t length = std::min<uint64_t>(out.size(), table_.starts[frame + 1] - offset);
    TRY(copy(frame, offset, out.first(length)));
    out = out.subspan(length);
    offset += length;
  }
  return ok();
}

uint64_t DecodedSource::frame_at(uint64_t position) const {
  const auto after = std::upper_bound(table_.starts.begin(), table_.starts.end(), position);
  return static_cast<uint64_t>(after - table_.starts.begin()) - 1;
}

Status DecodedSource::copy(uint64_t frame, uint64_t offset, MutableBytes out) const {
  std::unique_lock lock(mutex_);
  Slot* slot = nullptr;
  while ((slot = request(frame)) == nullptr) changed_.wait(lock);
  ++slot->readers;
  request_ahead(frame);
  changed_.wait(lock, [slot] { return slot->state != State::kWaiting; });
  const bool is_ready = slot->state == State::kReady;
  Status status = is_ready ? ok() : Status(*slot->error);
  if (is_ready) {
    lock.unlock();  // nobody takes a slot that has readers
    std::copy_n(slot->chunk.data() + (offset - table_.starts[frame]), out.size(), out.data());
    lock.lock();
  }
  if (--slot->readers == 0) changed_.notify_all();
  return status;
}

DecodedSource::Slot* DecodedSource::request(uint64_t frame) const {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_) {
    if (slot.state != State::kEmpty && slot.frame == frame) {
      slot.used = ++clock_;
      return &slot;
    }
    const bool is_free = slot.state != State::kWaiting && slot.readers == 0;
    if (is_free && (oldest == nullptr || slot.used < oldest->used)) oldest = &slot;
  }
  if (oldest == nullptr) return nullptr;
  oldest->state = State::kWaiting;
  oldest->frame = frame;
  oldest->used = ++clock_;
  queue_.push_back(oldest);
  wanted_.notify_one();
  return oldest;
}

// Each frame at most once, and only where reading goes on from frame to frame: whoever jumps about would
// decode in vain.
void DecodedSource::request_ahead(uint64_t frame) const {
  const uint64_t reached = std::max(ahead_end_, frame + 1);
  if (frame > ahead_end_) {  // a leap
    ahead_end_ = reached;
    return;
  }
  const uint64_t end = std::min<uint64_t>(table_.offsets.size() - 1, frame + 1 + ahead_);
  for (ahead_end_ = reached; ahead_end_ < end && request(ahead_end_) != nullptr;) ++ahead_end_;
}

void DecodedSource::work() {
  Buffer stored;
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return ending_ || !queue_.empty(); });
    if (ending_) return;
    Slot* slot = queue_.front();
    queue_.pop_front();
    lock.unlock();
    Status status = decode(slot->frame, stored, slot->chunk);
    lock.lock();
    slot->error = status.ok() ? std::nullopt : std::optional(std::move(status.error()));
    slot->state = slot->error ? State::kFailed : State::kReady;
    changed_.notify_all();
  }
}

Status DecodedSource::decode(uint64_t frame, Buffer& stored, Buffer& chunk) const {
  const uint64_t offset = table_.offsets[frame];
  const uint64_t length = table_.offsets[frame + 1] - offset;
  const uint64_t size = table_.starts[frame + 1] - table_.starts[frame];
  const std::string name = "frame " + std::to_string(frame) + " at byte " + std::to_string(offset);
  // No encoder needs twice the bound.
  if (length > 2 * zstd::frame_bound(size) + 1024) {
    return corrupt(name, "is longer than any frame of its chunk can be");
  }
  if (chunk.size() < size) chunk = TRY(Buffer::allocate(size));
  if (stored.size() < length) stored = TRY(Buffer::allocate(length));
  TRY(blob_->read_at(offset, stored.first(length)));
  const Bytes checksum = Bytes(table_.checksums).subspan(frame * table_.checksum_size, table_.checksum_size);
  return decode_frame(stored.first(length), table_.compressed, checksum, chunk.first(size), name);
}

}  // namespace seekable::layer
