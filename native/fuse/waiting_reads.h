// Reads that wait for chunks which are not here yet. Every member may be called from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "base/bytes.h"
#include "fuse/layer_file.h"

namespace seekable::fuse {

// One read of the kernel's, until it is answered.
struct PendingRead {
  uint64_t unique = 0;
  std::shared_ptr<LayerFile> file;
  uint64_t offset = 0;
  uint32_t size = 0;
  std::vector<uint64_t> missing;  // chunks that it waits for
  // Chunks that came by memory are put into `bytes` when they come; `in_memory` tells which.
  Buffer bytes;
  std::vector<uint64_t> in_memory;
  int error = 0;        // a negative errno once a chunk has failed
  uint32_t thread = 0;  // of the caller
  bool is_interrupted = false;
};

class WaitingReads {
 public:
  // Keeps a read until each of `read.missing` came. Chunks that turned up meanwhile are left out; when none
  // is left the read is returned, to be answered at once. Chunks that nobody was asked for are appended to
  // `asked`.
  std::unique_ptr<PendingRead> add(std::unique_ptr<PendingRead> read, std::vector<uint64_t>& asked);

  // The store's file has the chunk. Returns the reads that wait for nothing any more.
  std::vector<std::unique_ptr<PendingRead>> stored(LayerFile& file, uint64_t chunk);
  // The same for a chunk that could not be stored: readers get it from `bytes`, which is all of it, and the
  // next one asks again. kNoMemory of a reader becomes its error.
  std::vector<std::unique_ptr<PendingRead>> delivered(LayerFile& file, uint64_t chunk, Bytes bytes);
  // The chunk can't be had: its readers fail with this negative errno, and the next one asks again.
  std::vector<std::unique_ptr<PendingRead>> failed(LayerFile& file, uint64_t chunk, int error);
  // The caller of a read got a signal, by which it may be dying. False when the read does not wait.
  bool interrupted(uint64_t unique);
  // Reads whose callers got a signal, and are dying now.
  std::vector<std::unique_ptr<PendingRead>> abandoned();
  // Whether there are reads whose callers got a signal: those may get another.
  bool has_interrupted() const { return has_interrupted_; }
  // All reads of a file that goes, with `error` in each.
  std::vector<std::unique_ptr<PendingRead>> dropped(const LayerFile& file, int error);

 private:
  template <typename Visit>
  std::vector<std::unique_ptr<PendingRead>> release(const LayerFile& file, uint64_t chunk, Visit visit);

  std::mutex mutex_;
  std::atomic<bool> has_interrupted_{false};
  std::unordered_map<uint64_t, std::unique_ptr<PendingRead>> reads_;  // by `unique`
};

}  // namespace seekable::fuse
