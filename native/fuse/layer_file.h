// A layer as a file of the served folder: bytes [starts[i], starts[i + 1]) of it are chunk i, which is in the
// store's file or is not yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"
#include "fuse/read_log.h"

namespace seekable::fuse {

// What is known of a chunk.
enum class ChunkState : uint8_t {
  kAbsent,
  kAsked,    // somebody was told that a reader waits for it
  kPresent,  // in the store's file, for good
};

// Chunks first to last, both included.
struct ChunkRange {
  uint64_t first;
  uint64_t last;
};

class LayerFile {
 public:
  struct Options {
    uint64_t node;  // above the root's, below 2^53: JavaScript counts in doubles
    std::string name;
    File data;
    std::vector<uint64_t> starts;  // ascending from 0; the last is the file's size
    Bytes present;                 // a bit a chunk, the lowest first: what the store's file has already
    bool keeps_log = false;        // of what is read
  };
  // kUsage when the starts don't ascend from 0, or bits are missing.
  static Result<std::shared_ptr<LayerFile>> create(Options options);

  uint64_t node() const { return node_; }
  const std::string& name() const { return name_; }
  uint64_t size() const { return starts_.back(); }
  uint64_t chunk_count() const { return starts_.size() - 1; }
  uint64_t start(uint64_t chunk) const { return starts_[chunk]; }

  // The chunks that hold [offset, offset + length). REQUIRES: length > 0, and the range is in the file.
  ChunkRange chunks_of(uint64_t offset, uint64_t length) const;
  std::atomic<ChunkState>& state(uint64_t chunk) { return states_[chunk]; }
  // Marks a chunk as read; true the first time.
  bool touch(uint64_t chunk);
  // From the store's file: only what is present there means anything.
  Status read(uint64_t offset, MutableBytes out) const { return data_.read_at(offset, out); }

  // Null unless it keeps one.
  ReadLog* log() { return log_.get(); }

  std::atomic<uint64_t> reads{0};
  std::atomic<uint64_t> bytes_read{0};
  // Of both, what waited for no chunk.
  std::atomic<uint64_t> hits{0};
  std::atomic<uint64_t> bytes_hit{0};
  std::atomic<uint64_t> waiting{0};  // reads that wait for chunks now
  std::atomic<uint64_t> opened{0};   // open files of this server: mounts and loop devices have one each

 private:
  explicit LayerFile(Options options);

  uint64_t node_;
  std::string name_;
  File data_;
  std::vector<uint64_t> starts_;
  std::vector<std::atomic<ChunkState>> states_;
  std::vector<std::atomic<bool>> touched_;
  std::unique_ptr<ReadLog> log_;
};

}  // namespace seekable::fuse
