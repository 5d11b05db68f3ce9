#include "layer/tree_check.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/checked.h"

namespace seekable::layer {

namespace {
constexpr size_t kCompareSize = 1 << 20;
}

Result<TreeCheck> TreeCheck::create(const ExpectedTree& expected, const std::vector<uint64_t>& starts,
                                    const std::string& temporary_directory) {
  TRY(verity::check(expected.parameters));
  if (expected.data_size > starts.back()) {
    return corrupt("dm-verity tree", "covers " + std::to_string(expected.data_size) +
                                         " bytes of an image of " + std::to_string(starts.back()));
  }
  const uint32_t block = expected.parameters.data_block_size;
  const bool aligned =
      std::all_of(starts.begin(), starts.end() - 1, [&](uint64_t start) { return start % block == 0; });
  return TreeCheck(expected, aligned, temporary_directory);
}

Bytes TreeCheck::data_part(uint64_t start, Bytes chunk) const {
  if (start >= expected_->data_size) return {};
  return chunk.first(std::min<uint64_t>(chunk.size(), expected_->data_size - start));
}

void TreeCheck::hash_early(uint64_t start, Bytes chunk, std::vector<uint8_t>& leaves) const {
  leaves.clear();
  const Bytes data = data_part(start, chunk);
  if (!aligned_ || data.empty()) return;
  const verity::Parameters& parameters = expected_->parameters;
  leaves.resize(ceil_divide(data.size(), parameters.data_block_size) *
                hash::digest_size(parameters.algorithm));
  verity::hash_leaves(parameters, data, leaves.data());
}

Status TreeCheck::append(uint64_t start, Bytes chunk, Bytes leaves) {
  const Bytes data = data_part(start, chunk);
  const bool last = start + data.size() == expected_->data_size;
  if (!data.empty()) TRY(aligned_ ? builder_.append(leaves) : append_unaligned(data, last));
  if (last && !tree_) TRY(finish_tree());
  const uint64_t end = start + chunk.size();
  if (expected_->location == ExpectedTree::Location::kImage && end > expected_->offset) {
    const uint64_t from = std::max(start, expected_->offset);
    TRY(compare(from - expected_->offset, chunk.subspan(from - start)));
  }
  return ok();
}

// Blocks that lie across chunks: slower, but such blobs are legal.
Status TreeCheck::append_unaligned(Bytes data, bool last) {
  carry_.insert(carry_.end(), data.begin(), data.end());
  const uint32_t block = expected_->parameters.data_block_size;
  const size_t whole = last ? carry_.size() : carry_.size() / block * block;
  if (whole == 0) return ok();
  std::vector<uint8_t> leaves(ceil_divide(whole, block) * hash::digest_size(expected_->parameters.algorithm));
  verity::hash_leaves(expected_->parameters, Bytes(carry_).first(whole), leaves.data());
  carry_.erase(carry_.begin(), carry_.begin() + static_cast<ptrdiff_t>(whole));
  return builder_.append(leaves);
}

Status TreeCheck::finish_tree() {
  tree_ = TRY(builder_.finish());
  if (tree_->root() != expected_->root) {
    return mismatch("dm-verity root digest", "the data has another than the descriptor names");
  }
  return ok();
}

Status TreeCheck::compare(uint64_t tree_offset, Bytes stored) {
  const uint64_t size = tree_ ? tree_->size() : 0;
  if (tree_offset + stored.size() > size) {
    return corrupt("dm-verity tree", "is followed by bytes that belong to nothing");
  }
  Buffer buffer = TRY(Buffer::allocate(std::min(stored.size(), kCompareSize)));
  for (size_t done = 0; done < stored.size();) {
    const MutableBytes ours = buffer.first(std::min(stored.size() - done, kCompareSize));
    TRY(tree_->read_at(tree_offset + done, ours));
    const auto differing =
        std::mismatch(ours.begin(), ours.end(), stored.begin() + static_cast<ptrdiff_t>(done));
    if (differing.first != ours.end()) {
      const auto at = tree_offset + done + static_cast<uint64_t>(differing.first - ours.begin());
      return mismatch("dm-verity tree",
                      "differs from the tree of the data at its byte " + std::to_string(at));
    }
    done += ours.size();
  }
  compared_ += stored.size();
  return ok();
}

Status TreeCheck::finish(const ByteSource& blob, Job& job) {
  if (!tree_) TRY(finish_tree());  // only when there is no data: the builder says so
  if (expected_->location == ExpectedTree::Location::kBlob) TRY(compare_in_blob(blob, job));
  if (compared_ != tree_->size()) {
    return corrupt("dm-verity tree", "is cut short: " + std::to_string(compared_) + " bytes of " +
                                         std::to_string(tree_->size()));
  }
  return ok();
}

Status TreeCheck::compare_in_blob(const ByteSource& blob, Job& job) {
  Buffer buffer = TRY(Buffer::allocate(std::min<uint64_t>(tree_->size(), kCompareSize)));
  for (uint64_t offset = 0; offset < tree_->size();) {
    TRY(job.check());
    const MutableBytes stored = buffer.first(std::min<uint64_t>(tree_->size() - offset, kCompareSize));
    TRY(blob.read_at(expected_->offset + offset, stored));
    TRY(compare(offset, stored));
    offset += stored.size();
  }
  return ok();
}

}  // namespace seekable::layer
