// A blob while it is written: bytes go to a file and through SHA-256 at once. It stays open after the last
// frame, so that the chunk table and the dm-verity frame can be appended by whoever owns their formats.
#pragma once

#include <atomic>
#include <map>
#include <mutex>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"

namespace seekable::layer {

class BlobSink final : public ByteSink {
 public:
  // Writes to `file` from its first byte on. What is to stay is on its way to the disk while the rest is
  // made; a file that is `temporary` may never have to go there.
  explicit BlobSink(File file, bool temporary = false) : file_(std::move(file)), temporary_(temporary) {}

  Status write(Bytes bytes) override;
  // Gives `bytes` the next place in the blob, whose offset is returned, and hashes them; write_at() must
  // follow.
  uint64_t place(Bytes bytes);
  // place(bytes), and other.update(other_bytes) in step with it, which makes one of the two hashes almost
  // free.
  uint64_t place_beside(Bytes bytes, hash::Sha256& other, Bytes other_bytes);
  // Writes what was placed at `offset`. Any thread may, in any order.
  Status write_at(uint64_t offset, Bytes bytes);
  // Appends all of `source`.
  Status write_all(const ByteSource& source, Job& job);
  // SHA-256 of everything written. REQUIRES: called once; no write after it.
  hash::Sha256Digest finish() { return hash_.finish(); }
  uint64_t size() const { return size_; }
  // So many bytes from the first on are in the file: they stay as they are. Any thread may ask.
  uint64_t written() const { return written_.load(std::memory_order_acquire); }

 private:
  void note_written(uint64_t offset, uint64_t end);

  File file_;
  bool temporary_;
  std::mutex mutex_;
  std::map<uint64_t, uint64_t> ahead_;  // guarded by mutex_: what is written beyond written_, by its start
  std::atomic<uint64_t> written_{0};
  hash::Sha256 hash_;
  uint64_t size_ = 0;
};

}  // namespace seekable::layer
