// Compares the Merkle tree of decoded bytes, which come in order, with the tree that the blob carries and
// with the root that its descriptor names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/job.h"
#include "layer/decode_image.h"
#include "verity/tree.h"

namespace seekable::layer {

class TreeCheck {
 public:
  // kCorrupt when the tree does not fit where it is said to be. `starts` are the chunks' bounds in the image.
  static Result<TreeCheck> create(const ExpectedTree& expected, const std::vector<uint64_t>& starts,
                                  const std::string& temporary_directory);

  // Hashes the blocks of a chunk into `leaves`, when every block lies within one chunk; else does nothing.
  // Any thread.
  void hash_early(uint64_t start, Bytes chunk, std::vector<uint8_t>& leaves) const;
  // The chunk at `start`, with what hash_early() made of it. In order.
  Status append(uint64_t start, Bytes chunk, Bytes leaves);
  // Compares root and tree. REQUIRES: all chunks were appended.
  Status finish(const ByteSource& blob, Job& job);

 private:
  TreeCheck(const ExpectedTree& expected, bool aligned, const std::string& temporary_directory)
      : expected_(&expected), aligned_(aligned), builder_(expected.parameters, temporary_directory) {}

  Bytes data_part(uint64_t start, Bytes chunk) const;
  Status append_unaligned(Bytes data, bool last);
  Status finish_tree();
  Status compare(uint64_t tree_offset, Bytes stored);
  Status compare_in_blob(const ByteSource& blob, Job& job);

  const ExpectedTree* expected_;
  bool aligned_;  // every chunk begins at a block
  verity::TreeBuilder builder_;
  std::optional<verity::Tree> tree_;  // once all data was appended
  std::vector<uint8_t> carry_;        // the begun block, when not aligned
  uint64_t compared_ = 0;             // bytes of the tree that were found equal
};

}  // namespace seekable::layer
