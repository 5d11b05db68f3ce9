#include "zstd/frame.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>
#include <vector>

#include "base/block_pool.h"

namespace seekable::zstd {

namespace {

// Bytes compressed between two looks at the job. A chunk at a high level, or a huge one, takes seconds to
// minutes; for the others steps would only keep zstd from choosing where its blocks end (binaries get 1 %
// larger at level 3, nothing does from 13 on).
size_t step_size(int level, size_t chunk_size) {
  const bool is_slow = level > 12 || chunk_size > (size_t{16} << 20);
  return is_slow ? size_t{128} << 10 : chunk_size;
}

using Parameter = std::pair<ZSTD_cParameter, int>;

Error no_context() { return {ErrorCode::kNoMemory, "zstd", "no memory for a context", "use fewer threads"}; }

// The largest window that a chunk can use; more would only cost memory. 27 is what every decoder accepts.
int window_log(size_t chunk_size) {
  const int wanted = static_cast<int>(std::bit_width(std::max<size_t>(chunk_size, 2) - 1));
  return std::clamp(wanted, ZSTD_WINDOWLOG_MIN, 27);
}

// Level 3, the default, is tuned for layers (docs/performance.md): a hash table of half the size, and no
// search for better block boundaries, take an eighth of the time away for 1.4 % of size. Small chunks have
// smaller tables anyway.
void tune(int level, size_t chunk_size, std::vector<Parameter>& parameters) {
  if (level != 3 || chunk_size <= (size_t{256} << 10)) return;
  parameters.push_back({ZSTD_c_hashLog, 16});
  parameters.push_back({ZSTD_c_blockSplitterLevel, 1});  // 1 is none
}

// A context of a small layer works for less time than it takes to get fresh memory for it.
void* take(void*, size_t size) {
  if (!kPoolsBlocks || size < BlockPool::kLeast) return std::malloc(size);
  return BlockPool::shared().take(size);
}
void give(void*, void* memory) {
  if (!BlockPool::shared().give(static_cast<uint8_t*>(memory))) std::free(memory);
}
constexpr ZSTD_customMem kMemory = {take, give, nullptr};

Error bad_frame(const std::string& name, std::string why) { return corrupt(name, std::move(why)); }

}  // namespace

size_t frame_bound(size_t chunk_size) { return ZSTD_compressBound(chunk_size); }

void FrameEncoder::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }
void FrameDecoder::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

Result<FrameEncoder> FrameEncoder::create(int level, size_t chunk_size) {
  FrameEncoder encoder;
  encoder.step_ = step_size(level, chunk_size);
  encoder.context_.reset(ZSTD_createCCtx_advanced(kMemory));
  if (!encoder.context_) return no_context();
  std::vector<Parameter> parameters = {
      {ZSTD_c_compressionLevel, level},
      {ZSTD_c_windowLog, window_log(chunk_size)},
      {ZSTD_c_contentSizeFlag, 1},
      {ZSTD_c_checksumFlag, 1},
      // Both buffers stay where they are, so that a chunk in steps costs no copies.
      {ZSTD_c_stableInBuffer, 1},
      {ZSTD_c_stableOutBuffer, 1},
  };
  tune(level, chunk_size, parameters);
  for (const auto& [parameter, value] : parameters) {
    const size_t code = ZSTD_CCtx_setParameter(encoder.context_.get(), parameter, value);
    if (ZSTD_isError(code)) return usage("zstd parameter", ZSTD_getErrorName(code));
  }
  return encoder;
}

Result<size_t> FrameEncoder::encode(Bytes chunk, MutableBytes out, const Job& job) {
  ZSTD_CCtx* context = context_.get();
  ZSTD_CCtx_reset(context, ZSTD_reset_session_only);  // a cancelled frame may be in it
  ZSTD_CCtx_setPledgedSrcSize(context, chunk.size());
  ZSTD_inBuffer input = {chunk.data(), 0, 0};
  ZSTD_outBuffer output = {out.data(), out.size(), 0};
  for (size_t left = 1; left != 0 || input.size != chunk.size();) {
    TRY(job.check());
    input.size += std::min(chunk.size() - input.size, step_);
    left = ZSTD_compressStream2(context, &output, &input,
                                input.size == chunk.size() ? ZSTD_e_end : ZSTD_e_continue);
    if (ZSTD_isError(left)) return Error{ErrorCode::kNoMemory, "zstd", ZSTD_getErrorName(left), {}};
  }
  return output.pos;
}

Result<FrameDecoder> FrameDecoder::create() {
  FrameDecoder decoder;
  decoder.context_.reset(ZSTD_createDCtx_advanced(kMemory));
  if (!decoder.context_) return no_context();
  return decoder;
}

Status FrameDecoder::decode(Bytes frame, MutableBytes out, const std::string& name) {
  ZSTD_FrameHeader header;
  const size_t missing = ZSTD_getFrameHeader(&header, frame.data(), frame.size());
  if (ZSTD_isError(missing)) return bad_frame(name, "no zstd frame begins here");
  if (missing != 0) return bad_frame(name, "ends inside its header");
  if (header.frameType != ZSTD_frame) return bad_frame(name, "is a skippable frame, not a chunk");
  const uint64_t declared = header.frameContentSize;
  if (declared != ZSTD_CONTENTSIZE_UNKNOWN && declared != out.size()) {
    return bad_frame(name, "declares " + std::to_string(declared) + " bytes where the chunk has " +
                               std::to_string(out.size()));
  }
  const size_t length = ZSTD_findFrameCompressedSize(frame.data(), frame.size());
  if (ZSTD_isError(length)) return bad_frame(name, "is cut short or damaged");
  if (length != frame.size()) {
    return bad_frame(
        name, "is followed by " + std::to_string(frame.size() - length) + " bytes that belong to no chunk");
  }
  const size_t size = ZSTD_decompressDCtx(context_.get(), out.data(), out.size(), frame.data(), frame.size());
  if (ZSTD_isError(size)) return bad_frame(name, std::string("does not decode: ") + ZSTD_getErrorName(size));
  if (size != out.size()) {
    return bad_frame(name, "decodes to " + std::to_string(size) + " bytes where the chunk has " +
                               std::to_string(out.size()));
  }
  return ok();
}

const char* library_version() { return ZSTD_versionString(); }

}  // namespace seekable::zstd
