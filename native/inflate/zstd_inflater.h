// zstd, of any number of frames; skippable ones are passed over.
#pragma once

#include <memory>

#include "inflate/input.h"

namespace seekable::inflate {

// As Inflater::open does for kZstd.
Result<std::unique_ptr<Inflater>> open_zstd(const ByteSource& source, Inflater::OnInput on_input);

}  // namespace seekable::inflate
