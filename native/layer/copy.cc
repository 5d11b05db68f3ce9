#include "layer/copy.h"

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "base/checked.h"
#include "base/ordered_pipeline.h"
#include "layer/slots.h"

namespace seekable::layer {

namespace {

constexpr uint64_t kPiece = 1 << 20;

// Reads `source` piece by piece on `threads` threads, writes each to `file` if there is one, hashes them in
// order.
Result<hash::Sha256Digest> stream(const ByteSource& source, const File* file, uint64_t offset,
                                  unsigned threads, Job& job) {
  const uint64_t pieces = ceil_divide(source.size(), kPiece);
  std::vector<Buffer> buffers(slot_count(pieces, threads, kPiece));
  for (Buffer& buffer : buffers) buffer = TRY(Buffer::allocate(std::min(kPiece, source.size())));
  const auto piece = [&](uint64_t index, unsigned slot) {
    return buffers[slot].first(std::min(kPiece, source.size() - index * kPiece));
  };
  hash::Sha256 hash;
  TRY(run({.items = pieces,
           .threads = threads,
           .slots = static_cast<unsigned>(buffers.size()),
           .produce = [&](uint64_t index, unsigned slot) -> Status {
             TRY(source.read_at(index * kPiece, piece(index, slot)));
             if (file == nullptr) return ok();
             return file->write_at(offset + index * kPiece, piece(index, slot));
           },
           .consume =
               [&](uint64_t index, unsigned slot) {
                 hash.update(piece(index, slot));
                 job.advance(piece(index, slot).size());
                 return ok();
               }},
          job));
  return hash.finish();
}

}  // namespace

Result<hash::Sha256Digest> write_source(const ByteSource& source, const File& file, uint64_t offset,
                                        unsigned threads, Job& job) {
  job.begin("write", source.size());
  return stream(source, &file, offset, threads, job);
}

Result<hash::Sha256Digest> hash_source(const ByteSource& source, Job& job) {
  job.begin("hash", source.size());
  return stream(source, nullptr, 0, 1, job);
}

}  // namespace seekable::layer
