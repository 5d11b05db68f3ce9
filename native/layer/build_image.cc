#include "layer/build_image.h"

#include <algorithm>
#include <mutex>

#include "base/buffer.h"
#include "erofs/format.h"
#include "hash/sha1.h"
#include "hash/sha2.h"
#include "layer/tar_to_tree.h"

namespace seekable::layer {

namespace {

constexpr size_t kHashSize = 1 << 20;

std::string to_hex(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// Names the image after its metadata as it is without a UUID.
Status give_uuid(erofs::Image& image) {
  hash::Sha256 hash;
  const uint64_t size = image.summary().metadata_size;
  Buffer buffer = TRY(Buffer::allocate(std::min<uint64_t>(size, kHashSize)));
  for (uint64_t offset = 0; offset < size;) {
    const MutableBytes piece = buffer.first(std::min<uint64_t>(size - offset, kHashSize));
    TRY(image.read_at(offset, piece));
    hash.update(piece);
    offset += piece.size();
  }
  image.set_uuid(hash::uuid5_url("erofs:plan/" + to_hex(hash.finish())));
  return ok();
}

// The image together with the tar that its file data comes from. Only the superblock has to do with the UUID:
// whoever reads that first makes it, and others go on with the rest meanwhile.
class ImageOfTar final : public ByteSource {
 public:
  ImageOfTar(std::shared_ptr<const ByteSource> tar, std::unique_ptr<erofs::Image> image)
      : tar_(std::move(tar)), image_(std::move(image)) {}
  uint64_t size() const override { return image_->size(); }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    if (offset < erofs::kSuperblockEnd) TRY(ensure_uuid());
    return image_->read_at(offset, out);
  }

 private:
  Status ensure_uuid() const {
    const std::lock_guard lock(mutex_);
    if (!has_uuid_) TRY(give_uuid(*image_));
    has_uuid_ = true;
    return ok();
  }

  std::shared_ptr<const ByteSource> tar_;
  std::unique_ptr<erofs::Image> image_;
  mutable std::mutex mutex_;
  mutable bool has_uuid_ = false;
};

}  // namespace

Result<BuiltImage> build_image(std::shared_ptr<const ByteSource> tar, const TreeOptions& tree_options,
                               const erofs::PlanOptions& options, Job& job) {
  LayerTree layer = TRY(tar_to_tree(*tar, job, tree_options));
  std::unique_ptr<erofs::Image> image = TRY(erofs::plan_image(std::move(layer.tree), *tar, options, job));
  const erofs::ImageSummary summary = image->summary();
  return BuiltImage{std::make_shared<ImageOfTar>(std::move(tar), std::move(image)), summary,
                    std::move(layer.warnings)};
}

}  // namespace seekable::layer
