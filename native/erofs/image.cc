#include "erofs/image.h"

#include <algorithm>
#include <bit>

#include "erofs/plan.h"
#include "erofs/write.h"

namespace seekable::erofs {

namespace {

class PlannedImage final : public Image {
 public:
  PlannedImage(Plan plan, const ByteSource& data) : plan_(std::move(plan)), data_(data) {
    summary_ = {.inodes = plan_.inodes.size(),
                .metadata_size = plan_.metadata_blocks * plan_.block_size,
                .block_size = plan_.block_size,
                .epoch = plan_.tree.epoch,
                .hot_end = plan_.hot_end_block * plan_.block_size,
                .hot_found = plan_.hot_found,
                .has_device = plan_.device.has_value()};
  }

  uint64_t size() const override { return plan_.total_blocks * plan_.block_size; }
  const ImageSummary& summary() const override { return summary_; }
  void set_uuid(Bytes uuid) override { std::copy_n(uuid.begin(), Uuid{}.size(), uuid_.emplace().begin()); }

  Status read_at(uint64_t offset, MutableBytes out) const override {
    const ImageRange range = TRY(split_range(size(), summary_.metadata_size, offset, out));
    if (!range.metadata.empty()) TRY(write_metadata({plan_, data_}, uuid_, offset, range.metadata));
    return plan_.data.read(data_, range.data_offset, range.data);
  }
  DataMap take_data_map() && override { return std::move(plan_.data); }

 private:
  Plan plan_;
  const ByteSource& data_;
  ImageSummary summary_;
  std::optional<Uuid> uuid_;
};

}  // namespace

Result<ImageRange> split_range(uint64_t image_size, uint64_t metadata_size, uint64_t offset,
                               MutableBytes out) {
  if (offset > image_size || out.size() > image_size - offset) {
    return usage("image", "bytes " + std::to_string(offset) + "+" + std::to_string(out.size()) +
                              " are beyond its end at " + std::to_string(image_size));
  }
  const uint64_t metadata_left = metadata_size - std::min(offset, metadata_size);
  const auto in_metadata = static_cast<size_t>(std::min<uint64_t>(out.size(), metadata_left));
  return ImageRange{out.first(in_metadata), offset + in_metadata, out.subspan(in_metadata)};
}

Result<std::unique_ptr<Image>> plan_image(Tree tree, const ByteSource& data, const PlanOptions& options,
                                          Job& job) {
  const uint32_t block_size = options.block_size;
  if (!std::has_single_bit(block_size) || block_size < kMinBlockSize || block_size > kMaxBlockSize) {
    return usage("block size", std::to_string(block_size) + " is none of 512, 1024, 2048, 4096");
  }
  if (options.hot_border == 0 || options.hot_border % block_size != 0) {
    return usage("border of the hot part",
                 std::to_string(options.hot_border) + " is no multiple of " + std::to_string(block_size));
  }
  return std::unique_ptr<Image>(
      std::make_unique<PlannedImage>(TRY(make_plan(std::move(tree), options, job)), data));
}

}  // namespace seekable::erofs
