// What a harness demands of the code it runs.
#pragma once

#include <cstdlib>

#include "base/error.h"

namespace seekable::fuzz {

// A promise that is broken ends the program: that is how a fuzzer learns of it.
inline void require(bool condition) {
  if (!condition) std::abort();
}

// Bytes may be broken or refused, but nothing else may go wrong with them, and the error says what is.
inline void require_clean(const Error& error) {
  require(error.code == ErrorCode::kCorrupt || error.code == ErrorCode::kRefused);
  require(!error.why.empty());
}

}  // namespace seekable::fuzz
