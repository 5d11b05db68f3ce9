#include "verity/tree.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"

namespace seekable::verity {

namespace {

constexpr uint32_t kMinBlock = 512;
constexpr uint32_t kMaxBlock = 524288;
constexpr size_t kMaxSalt = 256;
constexpr size_t kBatchBlocks = 16;  // as many as the widest kernel has lanes

Status check_block_size(const char* name, uint32_t size) {
  if (std::has_single_bit(size) && size >= kMinBlock && size <= kMaxBlock) return ok();
  return usage("dm-verity", std::string(name) + " block size is " + std::to_string(size) +
                                ", but must be a power of two from 512 to 524288");
}

Error no_blocks() { return usage("dm-verity", "there is no data, and so no block to hash"); }

}  // namespace

Status check(const Parameters& parameters) {
  TRY(check_block_size("data", parameters.data_block_size));
  TRY(check_block_size("hash", parameters.hash_block_size));
  if (parameters.salt.size() <= kMaxSalt) return ok();
  return usage("dm-verity",
               "salt has " + std::to_string(parameters.salt.size()) + " bytes, but 256 are the most");
}

uint64_t Tree::size() const {
  uint64_t size = 0;
  for (const Spill& level : levels_) size += level.size();
  return size;
}

Status Tree::read_at(uint64_t offset, MutableBytes out) const {
  for (const Spill& level : levels_) {
    if (out.empty()) break;
    if (offset >= level.size()) {
      offset -= level.size();
      continue;
    }
    const size_t part = static_cast<size_t>(std::min<uint64_t>(out.size(), level.size() - offset));
    TRY(level.read_at(offset, out.first(part)));
    out = out.subspan(part);
    offset = 0;
  }
  if (out.empty()) return ok();
  return corrupt("dm-verity tree",
                 "ends at byte " + std::to_string(size()) + ", before what was expected of it");
}

TreeBuilder::TreeBuilder(Parameters parameters, std::string temporary_directory)
    : parameters_(std::move(parameters)),
      temporary_directory_(std::move(temporary_directory)),
      batch_size_(kBatchBlocks * parameters_.hash_block_size) {}

Status TreeBuilder::append(Bytes digests) {
  data_blocks_ += digests.size() / hash::digest_size(parameters_.algorithm);
  return append_to(0, digests);
}

// Calls flush(), which calls this for the level above: as deep as the tree, at most 21.
Status TreeBuilder::append_to(size_t depth, Bytes digests) {
  if (levels_.size() == depth) levels_.emplace_back();
  while (!digests.empty()) {
    std::vector<uint8_t>& pending = levels_[depth].pending;
    const size_t taken = std::min(digests.size(), batch_size_ - pending.size());
    pending.insert(pending.end(), digests.begin(), digests.begin() + static_cast<ptrdiff_t>(taken));
    digests = digests.subspan(taken);
    if (pending.size() == batch_size_) TRY(flush(depth));
  }
  return ok();
}

Status TreeBuilder::flush(size_t depth) {
  std::vector<uint8_t> blocks;
  blocks.swap(levels_[depth].pending);
  blocks.resize(
      round_up(blocks.size(), parameters_.hash_block_size));  // what is left of a hash block is zeros
  TRY(levels_[depth].level.append(blocks, temporary_directory_));
  const size_t count = blocks.size() / parameters_.hash_block_size;
  std::vector<uint8_t> digests(count * hash::digest_size(parameters_.algorithm));
  hash::hash_many(parameters_.algorithm, blocks.data(), parameters_.hash_block_size, count, parameters_.salt,
                  digests.data());
  return append_to(depth + 1, digests);
}

Result<Tree> TreeBuilder::finish() {
  if (data_blocks_ == 0) return no_blocks();
  // A level that would hold nothing but one digest is not made: the digest is the root.
  const size_t digest_size = hash::digest_size(parameters_.algorithm);
  size_t depth = 0;
  while (levels_[depth].level.size() > 0 || levels_[depth].pending.size() > digest_size) {
    if (!levels_[depth].pending.empty()) TRY(flush(depth));
    ++depth;
  }
  Tree tree;
  tree.root_ = std::move(levels_[depth].pending);
  tree.data_blocks_ = data_blocks_;
  while (depth > 0) tree.levels_.push_back(std::move(levels_[--depth].level));
  return tree;
}

}  // namespace seekable::verity
