#include "layer/decoded_source.h"

#include <algorithm>

#include "layer/frame_check.h"

namespace seekable::layer {

namespace {

constexpr uint64_t kKeptBytes = 64 << 20;
constexpr size_t kLanes = 8;  // of SHA-512, at most

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
  // Half of them for frames ahead, which are compared with their checksums together; half for frames behind,
  // which files may still lie in.
  const uint64_t most = std::max<uint64_t>(8 * threads, 4 * kLanes);
  const size_t slots = std::clamp<uint64_t>(kKeptBytes / largest_chunk(table.starts), 1, most);
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
  TRY(lend(offset, out.size(), [&out](Bytes bytes) -> Status {
    std::copy(bytes.begin(), bytes.end(), out.begin());
    out = out.subspan(bytes.size());
    return ok();
  }));
  return ok();
}

Result<bool> DecodedSource::lend(uint64_t offset, uint64_t length,
                                 const std::function<Status(Bytes)>& take) const {
  if (offset > size() || length > size() - offset)
    return corrupt("blob", "ends before what was expected of it");
  const uint64_t end = offset + length;
  for (uint64_t frame = length == 0 ? 0 : frame_at(offset); offset < end; ++frame) {
    const uint64_t start = table_.starts[frame];
    const uint64_t stop = std::min(end, table_.starts[frame + 1]);
    TRY(use(frame, [&](Bytes chunk) { return take(chunk.subspan(offset - start, stop - offset)); }));
    offset = stop;
  }
  return true;
}

uint64_t DecodedSource::frame_at(uint64_t position) const {
  const auto after = std::upper_bound(table_.starts.begin(), table_.starts.end(), position);
  return static_cast<uint64_t>(after - table_.starts.begin()) - 1;
}

Status DecodedSource::use(uint64_t frame, const std::function<Status(Bytes)>& take) const {
  std::unique_lock lock(mutex_);
  Slot* slot = nullptr;
  while ((slot = request(frame, false)) == nullptr) changed_.wait(lock);
  ++slot->readers;
  request_ahead(frame);
  changed_.wait(lock, [slot] { return slot->state != State::kWaiting; });
  const bool is_ready = slot->state == State::kReady;
  Status status = is_ready ? ok() : Status(*slot->error);
  if (is_ready) {
    lock.unlock();  // nobody takes a slot that has readers
    status = take(slot->chunk.first(table_.starts[frame + 1] - table_.starts[frame]));
    lock.lock();
  }
  if (--slot->readers == 0) changed_.notify_all();
  return status;
}

DecodedSource::Slot* DecodedSource::request(uint64_t frame, bool ahead) const {
  Slot* slot = find(frame);
  if (slot == nullptr) {
    slot = spare(ahead);
    if (slot == nullptr) return nullptr;
    slot->state = State::kWaiting;
    slot->frame = frame;
    slot->was_read = false;
    queue_.push_back(slot);
    wanted_.notify_one();
  }
  slot->used = ++clock_;
  if (!ahead) slot->was_read = true;
  return slot;
}

DecodedSource::Slot* DecodedSource::find(uint64_t frame) const {
  const auto found = std::find_if(slots_.begin(), slots_.end(), [frame](const Slot& slot) {
    return slot.state != State::kEmpty && slot.frame == frame;
  });
  return found == slots_.end() ? nullptr : &*found;
}

DecodedSource::Slot* DecodedSource::spare(bool ahead) const {
  // Decoded ahead, they were asked for before the frames that are read now: the oldest, and the next to be
  // read.
  const auto is_awaited = [this](const Slot& slot) {
    return slot.state != State::kEmpty && !slot.was_read && slot.frame < ahead_end_ &&
           slot.frame + ahead_ >= ahead_end_;
  };
  Slot* best = nullptr;
  for (Slot& slot : slots_) {
    if (slot.state == State::kWaiting || slot.readers > 0 || (ahead && is_awaited(slot))) continue;
    const bool is_better = best == nullptr || (is_awaited(*best) && !is_awaited(slot)) ||
                           (is_awaited(*best) == is_awaited(slot) && slot.used < best->used);
    if (is_better) best = &slot;
  }
  return best;
}

// Each frame at most once, and only where reading goes on from frame to frame: whoever jumps about would
// decode in vain.
void DecodedSource::request_ahead(uint64_t frame) const {
  const uint64_t reached = std::max(ahead_end_, frame + 1);
  if (frame > ahead_end_) {  // a leap
    ahead_end_ = reached;
    return;
  }
  const uint64_t frames = table_.offsets.size() - 1;
  const uint64_t end = std::min<uint64_t>(frames, frame + 1 + ahead_);
  // As many as SHA-512 has lanes, or it would hash them one by one.
  const uint64_t least = std::min<uint64_t>({kLanes, ahead_ / 2, frames - reached});
  if (end < reached + least) {
    ahead_end_ = reached;
    return;
  }
  for (ahead_end_ = reached; ahead_end_ < end && request(ahead_end_, true) != nullptr;) ++ahead_end_;
}

void DecodedSource::work() {
  Result<zstd::FrameDecoder> decoder = zstd::FrameDecoder::create();
  std::unique_lock lock(mutex_);
  for (;;) {
    wanted_.wait(lock, [this] { return ending_ || !queue_.empty() || !checked_.empty(); });
    if (ending_) return;
    if (checked_.empty()) {
      check_queued(lock);
    } else {
      decode_next(lock, decoder);
    }
  }
}

void DecodedSource::check_queued(std::unique_lock<std::mutex>& lock) {
  std::vector<Slot*> slots(queue_.begin(), queue_.begin() + std::min(queue_.size(), kLanes));
  queue_.erase(queue_.begin(), queue_.begin() + slots.size());
  lock.unlock();
  std::vector<uint64_t> frames;
  std::vector<Bytes> stored;
  std::vector<Status> statuses;
  for (Slot* slot : slots) {
    statuses.push_back(read(*slot));
    frames.push_back(slot->frame);
    stored.push_back(statuses.back().ok() ? slot->stored.first(stored_size(slot->frame)) : Bytes());
  }
  check_sums(table_, frames, stored, statuses);
  lock.lock();
  for (size_t i = 0; i < slots.size(); ++i) {
    if (statuses[i].ok())
      checked_.push_back(slots[i]);
    else
      finish(*slots[i], std::move(statuses[i]));
  }
  wanted_.notify_all();
}

void DecodedSource::decode_next(std::unique_lock<std::mutex>& lock, Result<zstd::FrameDecoder>& decoder) {
  Slot* slot = checked_.front();
  checked_.pop_front();
  lock.unlock();
  Status status = decode(*slot, decoder);
  slot->stored = Buffer();
  lock.lock();
  finish(*slot, std::move(status));
}

void DecodedSource::finish(Slot& slot, Status status) const {
  slot.error = status.ok() ? std::nullopt : std::optional(std::move(status.error()));
  slot.state = slot.error ? State::kFailed : State::kReady;
  changed_.notify_all();
}

Status DecodedSource::read(Slot& slot) const {
  const uint64_t length = stored_size(slot.frame);
  TRY(check_length(table_, slot.frame));
  // As large as most frames can be, so that others can have the memory next.
  slot.stored = TRY(Buffer::allocate(std::max(length, chunk_size(slot.frame))));
  return blob_->read_at(table_.offsets[slot.frame], slot.stored.first(length));
}

Status DecodedSource::decode(Slot& slot, Result<zstd::FrameDecoder>& decoder) const {
  const uint64_t size = chunk_size(slot.frame);
  if (slot.chunk.size() < size) slot.chunk = TRY(Buffer::allocate(size));
  const Bytes stored = slot.stored.first(stored_size(slot.frame));
  const std::string name = frame_name(table_, slot.frame);
  if (!table_.compressed) return copy_raw(stored, slot.chunk.first(size), name);
  if (!decoder.ok()) return decoder.error();
  return decoder.value().decode(stored, slot.chunk.first(size), name);
}

}  // namespace seekable::layer
