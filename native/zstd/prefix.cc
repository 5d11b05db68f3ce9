#include "zstd/prefix.h"

#include <zstd.h>

#include <memory>

namespace seekable::zstd {

namespace {

// 16 MiB: an extent decodes to 12 MiB at most, so no frame of EROFS has use for a larger window.
constexpr int kWindowLogMax = 24;

struct Free {
  void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
};

}  // namespace

Status decode_prefix(Bytes input, MutableBytes out, bool whole, const std::string& name) {
  const std::unique_ptr<ZSTD_DCtx, Free> context(ZSTD_createDCtx());
  if (!context || ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kWindowLogMax))) {
    return Error{ErrorCode::kNoMemory, "zstd", "no memory for a context", {}};
  }
  ZSTD_inBuffer from{input.data(), input.size(), 0};
  ZSTD_outBuffer to{out.data(), out.size(), 0};
  size_t hint = 1;  // 0 once the frame has ended
  for (bool moving = true; moving && hint != 0 && (whole || to.pos < to.size);) {
    const size_t before = from.pos + to.pos;
    hint = ZSTD_decompressStream(context.get(), &to, &from);
    if (ZSTD_isError(hint)) return corrupt(name, std::string("does not decode: ") + ZSTD_getErrorName(hint));
    moving = from.pos + to.pos != before;
  }
  if (to.pos < to.size) {
    return corrupt(name, "decodes to " + std::to_string(to.pos) + " bytes where " + std::to_string(to.size) +
                             " are needed");
  }
  if (whole && hint != 0) {
    return corrupt(name, "does not end after the " + std::to_string(to.size) + " bytes that are needed");
  }
  return ok();
}

}  // namespace seekable::zstd
