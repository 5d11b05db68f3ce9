#include "layer/store_image.h"

#include "base/buffer.h"
#include "base/ordered_pipeline.h"
#include "layer/chunk_cut.h"
#include "layer/slots.h"

namespace seekable::layer {

namespace {

// A chunk on its way from image to blob.
struct Slot {
  Buffer chunk;
  size_t length = 0;
  hash::Sha512Digest checksum;
};

}  // namespace

Result<StoredImage> store_image(const ByteSource& image, BlobSink& sink, const StoreOptions& options,
                                Job& job) {
  if (options.threads == 0) return usage("encode", "threads must not be 0");
  const ChunkCut cut = TRY(ChunkCut::of(image.size(), options.chunk_size, options.starts));
  const uint64_t chunks = cut.count();
  const size_t largest = cut.largest();
  std::vector<Slot> slots(slot_count(chunks, options.threads, largest));
  for (Slot& slot : slots) slot.chunk = TRY(Buffer::allocate(largest));

  StoredImage stored;
  stored.offsets.push_back(sink.size());
  hash::Sha256 diff_id;
  const auto read = [&](uint64_t index, unsigned number) -> Status {
    Slot& slot = slots[number];
    const auto [offset, length] = cut.range(index);
    slot.length = length;
    TRY(image.read_at(offset, slot.chunk.first(length)));
    slot.checksum = hash::sha512(slot.chunk.first(slot.length));
    return ok();
  };
  const auto append = [&](uint64_t, unsigned number) -> Status {
    const Slot& slot = slots[number];
    const Bytes chunk = slots[number].chunk.first(slot.length);
    TRY(sink.write_at(sink.place_beside(chunk, diff_id, chunk), chunk));
    stored.offsets.push_back(sink.size());
    stored.checksums.insert(stored.checksums.end(), slot.checksum.begin(), slot.checksum.end());
    job.advance(slot.length);
    return ok();
  };
  job.begin("encode", image.size());
  TRY(run({.items = chunks,
           .threads = options.threads,
           .slots = static_cast<unsigned>(slots.size()),
           .produce = read,
           .consume = append},
          job));
  stored.diff_id = diff_id.finish();
  return stored;
}

}  // namespace seekable::layer
