#include "layer/inflate_frame.h"

#include <algorithm>
#include <array>

#include "inflate/input.h"

namespace seekable::layer {

namespace {

// What the inflater says of a stream is said of the frame.
template <typename T>
Result<T> about(const std::string& name, Result<T> result) {
  if (result.ok() || result.error().code == ErrorCode::kCancelled) return result;
  const bool is_memory = result.error().code == ErrorCode::kNoMemory;
  return Error{is_memory ? ErrorCode::kNoMemory : ErrorCode::kCorrupt, name, result.error().why, {}};
}

}  // namespace

Result<hash::Sha256Digest> inflate_frame(const ByteSource& frame, const LargeChunk& chunk, const File& target,
                                         uint64_t offset, const std::string& name, Job& job) {
  const uint64_t length = chunk.length;
  job.begin("decode", length);
  const auto inflater = TRY(about(name, inflate::Inflater::open(frame, inflate::Compression::kZstd)));
  hash::Sha256 hash;
  uint64_t done = 0;
  for (;;) {
    TRY(job.check());
    const Bytes piece = TRY(about(name, inflater->next()));
    if (piece.empty()) break;
    if (piece.size() > length - done)
      return corrupt(name, "decodes to more than the " + std::to_string(length) + " bytes of its chunk");
    TRY(target.write_at(offset + done, piece));
    target.begin_writeback(offset + done, piece.size());
    hash.update(piece);
    done += piece.size();
    job.advance(piece.size());
  }
  if (done != length)
    return corrupt(
        name, "decodes to " + std::to_string(done) + " bytes where the chunk has " + std::to_string(length));
  constexpr size_t kPiece = 4096;
  const std::array<uint8_t, kPiece> nothing{};
  for (uint64_t left = chunk.zeros; left > 0; left -= std::min<uint64_t>(left, kPiece))
    hash.update(Bytes(nothing).first(std::min<uint64_t>(left, kPiece)));
  return hash.finish();
}

}  // namespace seekable::layer
