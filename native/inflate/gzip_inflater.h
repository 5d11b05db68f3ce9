// gzip (RFC 1952), of any number of members.
#pragma once

#include <cstddef>
#include <memory>

#include "inflate/feed.h"
#include "inflate/input.h"

namespace seekable::inflate {

// As Inflater::open does for kGzip. `block` is how much is read at once.
Result<std::unique_ptr<Inflater>> open_gzip(const ByteSource& source, Inflater::OnInput on_input,
                                            size_t block = Feed::kBlock);

}  // namespace seekable::inflate
