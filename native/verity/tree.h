// The dm-verity Merkle tree (docs/format/verity.md): built in one pass over digests that come in order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "base/job.h"
#include "base/spill.h"
#include "hash/sha2.h"

namespace seekable::verity {

struct Parameters {
  hash::Algorithm algorithm = hash::Algorithm::kSha512;
  uint32_t data_block_size = 4096;  // power of two, 512..524288
  uint32_t hash_block_size = 4096;  // power of two, 512..524288
  std::vector<uint8_t> salt;        // at most 256 bytes
};

Status check(const Parameters& parameters);

// A finished tree: root level first, as it lies on disk. A level of more than a megabyte lives mostly in an
// unlinked file.
class Tree final : public ByteSource {
 public:
  uint64_t size() const override;
  Status read_at(uint64_t offset, MutableBytes out) const override;
  const std::vector<uint8_t>& root() const { return root_; }
  uint64_t data_blocks() const { return data_blocks_; }

 private:
  friend class TreeBuilder;
  std::vector<uint8_t> root_;
  std::vector<Spill> levels_;  // root level first
  uint64_t data_blocks_ = 0;
};

// Digests of data blocks in, tree out. Memory is bounded: a level of more than a megabyte spills to an
// unlinked file in `temporary_directory`.
class TreeBuilder {
 public:
  // REQUIRES: check(parameters) is ok.
  TreeBuilder(Parameters parameters, std::string temporary_directory);
  // The digests of the next data blocks, digest_size bytes each, in order.
  Status append(Bytes digests);
  // REQUIRES: called once. kUsage if no digest was appended.
  Result<Tree> finish();

 private:
  static constexpr size_t kMaxInMemory = size_t{1} << 20;
  struct Growing {
    Spill level{kMaxInMemory};     // whole hash blocks
    std::vector<uint8_t> pending;  // digests after them, at most batch_size_ bytes
  };
  Status append_to(size_t depth, Bytes digests);
  Status flush(size_t depth);

  const Parameters parameters_;
  const std::string temporary_directory_;
  const size_t batch_size_;  // bytes of a level that are hashed at once, so that every lane has a hash block
  std::vector<Growing> levels_;  // lowest first
  uint64_t data_blocks_ = 0;
};

// Digests of the `count` data blocks in `data`; a last partial block is padded with zeros.
// REQUIRES: out holds ceil(data.size() / data_block_size) digests.
void hash_leaves(const Parameters& parameters, Bytes data, uint8_t* out);

// The tree over a whole source, padded with zeros to a whole block, on `threads` threads.
Result<Tree> build(const Parameters& parameters, const ByteSource& data, unsigned threads,
                   const std::string& temporary_directory, Job& job);

}  // namespace seekable::verity
