#include "inflate/zstd_inflater.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <string>
#include <utility>

#include "inflate/feed.h"

namespace seekable::inflate {

namespace {

constexpr int kMaxWindowLog = 27;  // 128 MiB, what the zstd program takes without being told to
constexpr size_t kPiece = size_t{256} << 10;

struct FreeContext {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};
using Context = std::unique_ptr<ZSTD_DCtx, FreeContext>;

Error no_memory() { return {ErrorCode::kNoMemory, "zstd stream", "no memory to decompress it", {}}; }

Error failed(const Feed& feed, size_t outcome) {
  const std::string place = " (at about " + feed.place() + ")";
  switch (ZSTD_getErrorCode(outcome)) {
    case ZSTD_error_memory_allocation: return no_memory();
    case ZSTD_error_frameParameter_windowTooLarge:
      return unsupported("zstd stream", "a frame needs a window of more than 128 MiB" + place);
    case ZSTD_error_dictionary_wrong:
      return unsupported("zstd stream", "a frame was compressed with a dictionary" + place);
    default: return corrupt("zstd stream", ZSTD_getErrorName(outcome) + place);
  }
}

class ZstdInflater final : public Inflater {
 public:
  ZstdInflater(Feed feed, Buffer buffer, Context context)
      : feed_(std::move(feed)), buffer_(std::move(buffer)), context_(std::move(context)) {}

  Result<Bytes> next() override {
    ZSTD_outBuffer output{buffer_.data(), buffer_.size(), 0};
    while (output.pos < output.size) {
      const Bytes in = TRY(feed_.peek());
      if (in.empty() && between_frames_) break;
      ZSTD_inBuffer input{in.data(), in.size(), 0};
      const size_t before = output.pos;
      const size_t outcome = ZSTD_decompressStream(context_.get(), &output, &input);
      if (ZSTD_isError(outcome)) return failed(feed_, outcome);
      feed_.consume(input.pos);
      between_frames_ = outcome == 0;
      if (in.empty() && output.pos == before) {
        return corrupt("zstd stream", "it is cut short at " + feed_.place());
      }
    }
    return Bytes(buffer_.first(output.pos));
  }

 private:
  Feed feed_;
  Buffer buffer_;
  Context context_;
  bool between_frames_ = false;  // false at the start: a stream has one frame at least
};

}  // namespace

Result<std::unique_ptr<Inflater>> open_zstd(const ByteSource& source, Inflater::OnInput on_input,
                                            size_t block) {
  Feed feed = TRY(Feed::open(source, std::move(on_input), block));
  Buffer buffer = TRY(Buffer::allocate(kPiece));
  Context context(ZSTD_createDCtx());
  if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kMaxWindowLog))) {
    return no_memory();
  }
  return std::unique_ptr<Inflater>(
      std::make_unique<ZstdInflater>(std::move(feed), std::move(buffer), std::move(context)));
}

}  // namespace seekable::inflate
