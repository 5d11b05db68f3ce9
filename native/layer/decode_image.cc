#include "layer/decode_image.h"

#include <algorithm>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/ordered_pipeline.h"
#include "layer/checked_frames.h"
#include "layer/frame_check.h"
#include "layer/slots.h"
#include "layer/tree_check.h"
#include "zstd/frame.h"

namespace seekable::layer {

namespace {

constexpr size_t kCopySize = 1 << 20;

// A frame on its way from blob to image.
struct Slot {
  Bytes frame;
  Buffer chunk;
  std::vector<uint8_t> leaves;
  size_t chunk_length = 0;
  std::optional<zstd::FrameDecoder> decoder;
};

class Decoder {
 public:
  Decoder(const ByteSource& blob, const FrameTable& table, const DecodeOptions& options, Job& job)
      : blob_(blob), table_(table), options_(options), job_(job), frames_(table.offsets.size() - 1) {}

  Result<DecodedImage> run() {
    TRY(check_table());
    if (options_.tree) {
      tree_.emplace(TRY(TreeCheck::create(*options_.tree, table_.starts, options_.temporary_directory)));
    }
    TRY(allocate_slots());
    job_.begin("decode", table_.starts.back());
    TRY(seekable::run(
        {.items = frames_,
         .threads = options_.threads,
         .slots = static_cast<unsigned>(slots_.size()),
         .produce = [this](uint64_t frame, unsigned slot) { return decode(frame, slots_[slot]); },
         .consume = [this](uint64_t frame, unsigned slot) { return account(frame, slots_[slot]); }},
        job_));
    TRY(hash_rest_of_blob());
    if (tree_) TRY(tree_->finish(blob_, job_));
    return DecodedImage{diff_id_.finish(), blob_hash_.finish()};
  }

 private:
  Status check_table() const {
    const std::vector<uint64_t>& offsets = table_.offsets;
    const std::vector<uint64_t>& starts = table_.starts;
    if (starts.size() != offsets.size() || table_.checksums.size() != frames_ * table_.checksum_size) {
      return usage("frame table", "its parts differ in length");
    }
    if (offsets.front() != 0 || starts.front() != 0)
      return corrupt("frame table", "does not begin at byte 0");
    for (uint64_t i = 0; i < frames_; ++i) {
      const bool rises = offsets[i] < offsets[i + 1] && starts[i] < starts[i + 1];
      if (!rises || offsets[i + 1] > blob_.size())
        return corrupt(frame_name(table_, i), "lies outside the blob or overlaps");
      TRY(check_length(table_, i));
    }
    return ok();
  }

  Status allocate_slots() {
    uint64_t chunk = 0;
    for (uint64_t i = 0; i < frames_; ++i) chunk = std::max(chunk, table_.starts[i + 1] - table_.starts[i]);
    slots_.resize(slot_count(frames_, options_.threads, chunk));
    for (Slot& slot : slots_) {
      slot.chunk = TRY(Buffer::allocate(chunk));
      slot.decoder = TRY(zstd::FrameDecoder::create());
    }
    checked_.emplace(blob_, table_, options_.threads, static_cast<unsigned>(slots_.size()));
    return checked_->allocate();
  }

  // On any thread.
  Status decode(uint64_t index, Slot& slot) {
    slot.frame = TRY(checked_->take(index));
    slot.chunk_length = table_.starts[index + 1] - table_.starts[index];
    const MutableBytes chunk = slot.chunk.first(slot.chunk_length);
    const std::string name = frame_name(table_, index);
    TRY(table_.compressed ? slot.decoder->decode(slot.frame, chunk, name)
                          : copy_raw(slot.frame, chunk, name));
    if (options_.target != nullptr) TRY(write(table_.starts[index], chunk));
    if (tree_) tree_->hash_early(table_.starts[index], chunk, slot.leaves);
    return ok();
  }

  Status write(uint64_t offset, Bytes chunk) const {
    TRY(options_.target->write_at(offset, chunk));
    if (options_.syncs) options_.target->begin_writeback(offset, chunk.size());
    return ok();
  }

  // In order, one at a time.
  Status account(uint64_t index, Slot& slot) {
    const MutableBytes chunk = slot.chunk.first(slot.chunk_length);
    hash::Sha256::update_both(diff_id_, chunk, blob_hash_, slot.frame);
    checked_->release(index);
    if (tree_) TRY(tree_->append(table_.starts[index], chunk, slot.leaves));
    job_.advance(slot.chunk_length);
    return ok();
  }

  Status hash_rest_of_blob() {
    Buffer buffer = TRY(Buffer::allocate(kCopySize));
    for (uint64_t offset = table_.offsets.back(); offset < blob_.size();) {
      TRY(job_.check());
      const MutableBytes piece = buffer.first(std::min<uint64_t>(blob_.size() - offset, kCopySize));
      TRY(blob_.read_at(offset, piece));
      blob_hash_.update(piece);
      offset += piece.size();
    }
    return ok();
  }

  const ByteSource& blob_;
  const FrameTable& table_;
  const DecodeOptions& options_;
  Job& job_;
  const uint64_t frames_;
  std::vector<Slot> slots_;
  std::optional<CheckedFrames> checked_;
  std::optional<TreeCheck> tree_;
  hash::Sha256 diff_id_;
  hash::Sha256 blob_hash_;
};

}  // namespace

Result<DecodedImage> decode_image(const ByteSource& blob, const FrameTable& table,
                                  const DecodeOptions& options, Job& job) {
  if (table.offsets.empty() || options.threads == 0)
    return usage("decode", "an empty frame table or no threads");
  return Decoder(blob, table, options, job).run();
}

Status decode_frame(Bytes frame, bool compressed, Bytes checksum, MutableBytes out, const std::string& name) {
  TRY(check_sum(frame, checksum, name));
  if (!compressed) return copy_raw(frame, out, name);
  zstd::FrameDecoder decoder = TRY(zstd::FrameDecoder::create());
  return decoder.decode(frame, out, name);
}

}  // namespace seekable::layer
