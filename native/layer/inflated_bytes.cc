#include "layer/inflated_bytes.h"

#include <algorithm>
#include <utility>

#include "base/disk_space.h"

namespace seekable::layer {

namespace {

constexpr size_t kBlock = size_t{1} << 20;

// A part of the block that `offset` is in, of `length` bytes at most.
std::pair<size_t, size_t> within_block(uint64_t offset, size_t length) {
  const size_t start = offset % kBlock;
  return {start, std::min(length, kBlock - start)};
}

class BlocksSource final : public ByteSource {
 public:
  BlocksSource(std::vector<Buffer> blocks, uint64_t size) : blocks_(std::move(blocks)), size_(size) {}
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    if (offset > size_ || out.size() > size_ - offset) {
      return corrupt("inflated layer",
                     "ends at byte " + std::to_string(size_) + ", before what was expected of it");
    }
    while (!out.empty()) {
      const auto [start, length] = within_block(offset, out.size());
      const uint8_t* from = blocks_[offset / kBlock].data() + start;
      std::copy_n(from, length, out.begin());
      out = out.subspan(length);
      offset += length;
    }
    return ok();
  }

 private:
  std::vector<Buffer> blocks_;
  uint64_t size_;
};

}  // namespace

InflatedBytes::InflatedBytes(uint64_t compressed_size, std::string temporary_directory)
    : temporary_directory_(std::move(temporary_directory)),
      is_in_memory_(compressed_size <= kMostInMemory),
      unchecked_(kSpaceCheckInterval) {}

Status InflatedBytes::append(Bytes bytes) {
  if (is_in_memory_ && bytes.size() > kMostInMemory - size_) TRY(spill());
  TRY(is_in_memory_ ? remember(bytes) : write(bytes));
  return ok();
}

std::shared_ptr<const ByteSource> InflatedBytes::finish() {
  if (is_in_memory_) return std::make_shared<BlocksSource>(std::move(blocks_), size_);
  return std::make_shared<FileSource>(std::move(file_), 0, size_);
}

Status InflatedBytes::remember(Bytes bytes) {
  while (!bytes.empty()) {
    const auto [start, length] = within_block(size_, bytes.size());
    if (start == 0) blocks_.push_back(TRY(Buffer::allocate(kBlock)));
    std::copy_n(bytes.begin(), length, blocks_.back().data() + start);
    bytes = bytes.subspan(length);
    size_ += length;
  }
  return ok();
}

Status InflatedBytes::spill() {
  is_in_memory_ = false;
  uint64_t left = std::exchange(size_, 0);
  for (Buffer& block : blocks_) {
    const size_t length = std::min<uint64_t>(left, kBlock);
    TRY(write(block.first(length)));
    left -= length;
  }
  blocks_.clear();
  return ok();
}

Status InflatedBytes::write(Bytes bytes) {
  if (file_.descriptor() < 0) file_ = TRY(File::temporary(temporary_directory_));
  if (unchecked_ >= kSpaceCheckInterval) {
    TRY(check_space_left(file_));
    unchecked_ = 0;
  }
  TRY(file_.write_at(size_, bytes));
  size_ += bytes.size();
  unchecked_ += bytes.size();
  return ok();
}

}  // namespace seekable::layer
