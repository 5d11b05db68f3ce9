#include "layer/build_image.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/heap.h"
#include "base/ordered_pipeline.h"
#include "base/spill.h"
#include "erofs/format.h"
#include "hash/sha1.h"
#include "hash/sha2.h"
#include "layer/slots.h"
#include "layer/tar_to_tree.h"

namespace seekable::layer {

namespace {

constexpr size_t kPieceSize = size_t{256} << 10;
constexpr size_t kMaxMetadataInMemory = size_t{1} << 20;

std::string to_hex(Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : bytes) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

// The metadata of an image as bytes, so that the tree, which takes much more memory, is needed no longer.
class Metadata {
 public:
  // Writes it, and names the image after it as it is without a UUID.
  static Result<Metadata> of(erofs::Image& image, const TreeOptions& options, Job& job) {
    Metadata metadata;
    image.set_uuid(hash::uuid5_url("erofs:plan/" + to_hex(TRY(metadata.store(image, options, job)))));
    metadata.head_.resize(erofs::kSuperblockEnd);
    TRY(image.read_at(0, metadata.head_));
    return metadata;
  }

  uint64_t size() const { return bytes_.size(); }
  // REQUIRES: offset + out.size() <= size().
  Status read_at(uint64_t offset, MutableBytes out) const {
    TRY(bytes_.read_at(offset, out));
    if (offset >= head_.size()) return ok();
    const auto length = static_cast<ptrdiff_t>(std::min<uint64_t>(head_.size() - offset, out.size()));
    std::copy_n(head_.begin() + static_cast<ptrdiff_t>(offset), length, out.begin());
    return ok();
  }

 private:
  Result<hash::Sha256Digest> store(const erofs::Image& image, const TreeOptions& options, Job& job);

  Spill bytes_{kMaxMetadataInMemory};  // without UUID
  std::vector<uint8_t> head_;          // up to the end of the superblock, with UUID and checksum
};

// Returns the digest of what it stores.
Result<hash::Sha256Digest> Metadata::store(const erofs::Image& image, const TreeOptions& options, Job& job) {
  const uint64_t size = image.summary().metadata_size;
  const auto length_of = [size](uint64_t piece) {
    return static_cast<size_t>(std::min<uint64_t>(size - piece * kPieceSize, kPieceSize));
  };
  const uint64_t pieces = ceil_divide(size, kPieceSize);
  std::vector<Buffer> buffers(slot_count(pieces, options.threads, kPieceSize));
  for (Buffer& buffer : buffers) buffer = TRY(Buffer::allocate(length_of(0)));
  hash::Sha256 hash;
  TRY(run({.items = pieces,
           .threads = options.threads,
           .slots = static_cast<unsigned>(buffers.size()),
           .produce =
               [&](uint64_t piece, unsigned slot) {
                 return image.read_at(piece * kPieceSize, buffers[slot].first(length_of(piece)));
               },
           .consume = [&](uint64_t piece, unsigned slot) -> Status {
             const Bytes bytes = buffers[slot].first(length_of(piece));
             hash.update(bytes);
             return bytes_.append(bytes, options.temporary_directory);
           }},
          job));
  return hash.finish();
}

// The image together with the tar that its file data comes from.
class ImageOfTar final : public ByteSource {
 public:
  ImageOfTar(uint64_t size, Metadata metadata, erofs::DataMap data, std::shared_ptr<const ByteSource> tar)
      : size_(size), metadata_(std::move(metadata)), data_(std::move(data)), tar_(std::move(tar)) {}

  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    const erofs::ImageRange range = TRY(erofs::split_range(size_, metadata_.size(), offset, out));
    if (!range.metadata.empty()) TRY(metadata_.read_at(offset, range.metadata));
    return data_.read(*tar_, range.data_offset, range.data);
  }

 private:
  const uint64_t size_;
  const Metadata metadata_;
  const erofs::DataMap data_;
  const std::shared_ptr<const ByteSource> tar_;
};

}  // namespace

Result<BuiltImage> build_image(std::shared_ptr<const ByteSource> tar, const TreeOptions& tree_options,
                               const erofs::PlanOptions& options, Job& job, bool list_files) {
  return_freed_memory();  // of what fetched and inflated the tar, before the tree needs memory
  LayerTree layer = TRY(tar_to_tree(*tar, job, tree_options));
  std::unique_ptr<erofs::Image> image = TRY(erofs::plan_image(std::move(layer.tree), *tar, options, job));
  Metadata metadata = TRY(Metadata::of(*image, tree_options, job));
  const erofs::ImageSummary summary = image->summary();
  const uint64_t size = image->size();
  erofs::DataMap data = std::move(*image).take_data_map();
  image.reset();  // and with it the tree, before the chunks need memory
  return_freed_memory();
  std::vector<uint64_t> pieces = list_files ? data.file_pieces() : std::vector<uint64_t>{};
  return BuiltImage{std::make_shared<ImageOfTar>(size, std::move(metadata), std::move(data), std::move(tar)),
                    summary, std::move(layer.warnings), std::move(pieces)};
}

}  // namespace seekable::layer
