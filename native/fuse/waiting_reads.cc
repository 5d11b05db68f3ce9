#include "fuse/waiting_reads.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fuse/signals.h"

namespace seekable::fuse {

namespace {

// Copies what a read wants of a chunk.
void take(PendingRead& read, uint64_t chunk, Bytes bytes) {
  if (read.error != 0) return;
  if (read.bytes.size() == 0) {
    Result<Buffer> memory = Buffer::allocate(read.size);
    if (!memory.ok()) {
      read.error = -ENOMEM;
      return;
    }
    read.bytes = std::move(memory.value());
  }
  const uint64_t start = read.file->start(chunk);
  const uint64_t from = std::max(read.offset, start);
  const uint64_t to = std::min(read.offset + read.size, start + bytes.size());
  std::memcpy(read.bytes.data() + (from - read.offset), bytes.data() + (from - start), to - from);
  read.in_memory.push_back(chunk);
}

}  // namespace

std::unique_ptr<PendingRead> WaitingReads::add(std::unique_ptr<PendingRead> read,
                                               std::vector<uint64_t>& asked) {
  const std::lock_guard lock(mutex_);
  LayerFile& file = *read->file;
  std::erase_if(read->missing, [&](uint64_t chunk) { return file.state(chunk) == ChunkState::kPresent; });
  if (read->missing.empty()) return read;
  for (const uint64_t chunk : read->missing) {
    if (file.state(chunk).exchange(ChunkState::kAsked) == ChunkState::kAbsent) asked.push_back(chunk);
  }
  ++file.waiting;
  const uint64_t unique = read->unique;
  reads_[unique] = std::move(read);
  return nullptr;
}

template <typename Visit>
std::vector<std::unique_ptr<PendingRead>> WaitingReads::release(const LayerFile& file, uint64_t chunk,
                                                                Visit visit) {
  std::vector<std::unique_ptr<PendingRead>> ready;
  for (auto at = reads_.begin(); at != reads_.end();) {
    PendingRead& read = *at->second;
    if (read.file.get() == &file && std::erase(read.missing, chunk) > 0) visit(read);
    if (read.file.get() != &file || (!read.missing.empty() && read.error == 0)) {
      ++at;
      continue;
    }
    --read.file->waiting;
    ready.push_back(std::move(at->second));
    at = reads_.erase(at);
  }
  return ready;
}

std::vector<std::unique_ptr<PendingRead>> WaitingReads::stored(LayerFile& file, uint64_t chunk) {
  const std::lock_guard lock(mutex_);
  file.state(chunk) = ChunkState::kPresent;
  return release(file, chunk, [](PendingRead&) {});
}

std::vector<std::unique_ptr<PendingRead>> WaitingReads::delivered(LayerFile& file, uint64_t chunk,
                                                                  Bytes bytes) {
  const std::lock_guard lock(mutex_);
  file.state(chunk) = ChunkState::kAbsent;
  return release(file, chunk, [&](PendingRead& read) { take(read, chunk, bytes); });
}

std::vector<std::unique_ptr<PendingRead>> WaitingReads::failed(LayerFile& file, uint64_t chunk, int error) {
  const std::lock_guard lock(mutex_);
  file.state(chunk) = ChunkState::kAbsent;
  return release(file, chunk, [error](PendingRead& read) { read.error = error; });
}

bool WaitingReads::interrupted(uint64_t unique) {
  const std::lock_guard lock(mutex_);
  const auto found = reads_.find(unique);
  if (found == reads_.end()) return false;
  found->second->is_interrupted = true;
  has_interrupted_ = true;
  return true;
}

std::vector<std::unique_ptr<PendingRead>> WaitingReads::abandoned() {
  std::vector<std::unique_ptr<PendingRead>> gone;
  if (!has_interrupted_) return gone;
  const std::lock_guard lock(mutex_);
  has_interrupted_ = false;
  for (auto at = reads_.begin(); at != reads_.end();) {
    PendingRead& read = *at->second;
    if (!read.is_interrupted || !is_dying(read.thread)) {
      has_interrupted_ = has_interrupted_ || read.is_interrupted;
      ++at;
      continue;
    }
    --read.file->waiting;
    gone.push_back(std::move(at->second));
    at = reads_.erase(at);
  }
  return gone;
}

std::vector<std::unique_ptr<PendingRead>> WaitingReads::dropped(const LayerFile& file, int error) {
  const std::lock_guard lock(mutex_);
  std::vector<std::unique_ptr<PendingRead>> gone;
  for (auto at = reads_.begin(); at != reads_.end();) {
    if (at->second->file.get() != &file) {
      ++at;
      continue;
    }
    at->second->error = error;
    --at->second->file->waiting;
    gone.push_back(std::move(at->second));
    at = reads_.erase(at);
  }
  return gone;
}

}  // namespace seekable::fuse
