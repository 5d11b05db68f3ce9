#include "layer/blob_sink.h"

#include <algorithm>
#include <utility>

#include "base/buffer.h"

namespace seekable::layer {

namespace {
constexpr size_t kCopySize = 1 << 20;
}

Status BlobSink::write(Bytes bytes) { return write_at(place(bytes), bytes); }

uint64_t BlobSink::place(Bytes bytes) {
  hash_.update(bytes);
  return std::exchange(size_, size_ + bytes.size());
}

uint64_t BlobSink::place_beside(Bytes bytes, hash::Sha256& other, Bytes other_bytes) {
  hash::Sha256::update_both(hash_, bytes, other, other_bytes);
  return std::exchange(size_, size_ + bytes.size());
}

Status BlobSink::write_at(uint64_t offset, Bytes bytes) {
  TRY(file_.write_at(offset, bytes));
  if (!temporary_) file_.begin_writeback(offset, bytes.size());
  note_written(offset, offset + bytes.size());
  return ok();
}

void BlobSink::note_written(uint64_t offset, uint64_t end) {
  const std::lock_guard lock(mutex_);
  ahead_.emplace(offset, end);
  uint64_t written = written_.load(std::memory_order_relaxed);
  for (auto next = ahead_.begin(); next != ahead_.end() && next->first == written;
       next = ahead_.erase(next)) {
    written = next->second;
  }
  written_.store(written, std::memory_order_release);
}

Status BlobSink::write_all(const ByteSource& source, Job& job) {
  job.begin("append", source.size());
  Buffer buffer = TRY(Buffer::allocate(std::min<uint64_t>(source.size(), kCopySize)));
  for (uint64_t offset = 0; offset < source.size();) {
    TRY(job.check());
    const MutableBytes piece = buffer.first(std::min<uint64_t>(source.size() - offset, kCopySize));
    TRY(source.read_at(offset, piece));
    TRY(write(piece));
    job.advance(piece.size());
    offset += piece.size();
  }
  return ok();
}

}  // namespace seekable::layer
