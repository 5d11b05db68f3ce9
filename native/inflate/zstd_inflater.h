// zstd, of any number of frames; skippable ones are passed over.
#pragma once

#include <cstddef>
#include <memory>

#include "inflate/feed.h"
#include "inflate/input.h"

namespace seekable::inflate {

// As Inflater::open does for kZstd. `block` is how much is read at once.
Result<std::unique_ptr<Inflater>> open_zstd(const ByteSource& source, Inflater::OnInput on_input,
                                            size_t block = Feed::kBlock);

}  // namespace seekable::inflate
