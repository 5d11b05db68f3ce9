#include "layer/encode_image.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/ordered_pipeline.h"
#include "layer/chunk_cut.h"
#include "layer/frame_hasher.h"
#include "layer/slots.h"
#include "zstd/frame.h"

namespace seekable::layer {

namespace {

// A chunk on its way from image to blob.
struct Slot {
  Buffer chunk;
  Buffer frame;
  std::vector<uint8_t> leaves;  // digests of the chunk's dm-verity blocks
  size_t chunk_length = 0;
  size_t frame_length = 0;
  uint64_t place = 0;  // of the frame in the blob
  std::optional<zstd::FrameEncoder> encoder;
};

class Encoder {
 public:
  Encoder(const ByteSource& image, BlobSink& sink, const EncodeOptions& options, Job& job)
      : image_(image), sink_(sink), options_(options), job_(job) {}

  Result<EncodedImage> run() {
    TRY(check_options());
    cut_.emplace(TRY(ChunkCut::of(image_.size(), options_.chunk_size, options_.starts)));
    const uint64_t chunks = cut_->count();
    if (options_.verity) tree_.emplace(*options_.verity, options_.temporary_directory);
    TRY(allocate_slots(chunks));
    encoded_.checksums.resize(chunks * sizeof(hash::Sha512Digest));
    FrameHasher hasher(encoded_.checksums.data());
    TRY(hasher.allocate(chunks, slots_.front().frame.size()));
    encoded_.offsets.push_back(sink_.size());
    job_.begin("encode", image_.size());
    TRY(seekable::run(
        {.items = chunks,
         .threads = options_.threads,
         .slots = static_cast<unsigned>(slots_.size()),
         .produce = [this](uint64_t chunk, unsigned slot) { return compress(chunk, slots_[slot]); },
         .consume = [this](uint64_t, unsigned slot) { return place(slots_[slot]); },
         .finish = [&](uint64_t chunk, unsigned slot) { return write(chunk, slots_[slot], hasher); }},
        job_));
    hasher.finish();
    encoded_.diff_id = diff_id_.finish();
    if (tree_) encoded_.tree = TRY(tree_->finish());
    return std::move(encoded_);
  }

 private:
  Status check_options() const {
    if (options_.chunk_size == 0 || options_.threads == 0)
      return usage("encode", "chunk size and threads must not be 0");
    if (!options_.verity) return ok();
    TRY(verity::check(*options_.verity));
    if (image_.size() == 0) return usage("dm-verity", "an empty image has no tree");
    if (!options_.starts.empty()) return usage("dm-verity", "its tree is of equal chunks");
    if (options_.chunk_size % options_.verity->data_block_size != 0) {
      return usage("encode", "the chunk size is no multiple of the dm-verity block size");
    }
    return ok();
  }

  Status allocate_slots(uint64_t chunks) {
    const size_t largest = cut_->largest();
    slots_.resize(slot_count(chunks, options_.threads, largest));
    for (Slot& slot : slots_) {
      slot.chunk = TRY(Buffer::allocate(largest));
      slot.frame = TRY(Buffer::allocate(zstd::frame_bound(largest)));
      slot.encoder = TRY(zstd::FrameEncoder::create(options_.level, options_.chunk_size));
    }
    return ok();
  }

  // On any thread: reads the chunk, hashes its blocks while it is in the cache, compresses it.
  Status compress(uint64_t index, Slot& slot) {
    const auto [offset, length] = cut_->range(index);
    slot.chunk_length = length;
    const MutableBytes chunk = slot.chunk.first(length);
    TRY(image_.read_at(offset, chunk));
    if (options_.verity) {
      const uint64_t blocks = ceil_divide(chunk.size(), options_.verity->data_block_size);
      slot.leaves.resize(blocks * hash::digest_size(options_.verity->algorithm));
      verity::hash_leaves(*options_.verity, chunk, slot.leaves.data());
    }
    slot.frame_length = TRY(slot.encoder->encode(chunk, slot.frame.first(slot.frame.size()), job_));
    return ok();
  }

  // In order, one at a time: what depends on all chunks before.
  Status place(Slot& slot) {
    slot.place = sink_.place_beside(slot.frame.first(slot.frame_length), diff_id_,
                                    slot.chunk.first(slot.chunk_length));
    encoded_.offsets.push_back(sink_.size());
    if (tree_) TRY(tree_->append(slot.leaves));
    job_.advance(slot.chunk_length);
    return ok();
  }

  // On any thread.
  Status write(uint64_t index, Slot& slot, FrameHasher& hasher) {
    TRY(sink_.write_at(slot.place, slot.frame.first(slot.frame_length)));
    hasher.add(index, slot.frame, slot.frame_length);
    return ok();
  }

  const ByteSource& image_;
  BlobSink& sink_;
  const EncodeOptions& options_;
  Job& job_;
  std::optional<ChunkCut> cut_;
  std::vector<Slot> slots_;
  hash::Sha256 diff_id_;
  std::optional<verity::TreeBuilder> tree_;
  EncodedImage encoded_;
};

}  // namespace

Result<EncodedImage> encode_image(const ByteSource& image, BlobSink& sink, const EncodeOptions& options,
                                  Job& job) {
  return Encoder(image, sink, options, job).run();
}

}  // namespace seekable::layer
