#include "base/error.h"

namespace seekable {

const char* code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage: return "USAGE";
    case ErrorCode::kIo: return "IO";
    case ErrorCode::kNoSpace: return "NO_SPACE";
    case ErrorCode::kCorrupt: return "CORRUPT";
    case ErrorCode::kMismatch: return "MISMATCH";
    case ErrorCode::kRefused: return "REFUSED";
    case ErrorCode::kUnsupported: return "UNSUPPORTED";
    case ErrorCode::kCancelled: return "CANCELLED";
    case ErrorCode::kNoMemory: return "NO_MEMORY";
  }
  return "IO";
}

Error system_error(std::string what, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT;
  return {full ? ErrorCode::kNoSpace : ErrorCode::kIo, std::move(what), std::strerror(error_number),
          full ? "free some space, or choose another place with --tmp-dir" : "", error_number};
}

}  // namespace seekable
