// gzip, of any number of members.
#pragma once

#include <memory>

#include "inflate/input.h"

namespace seekable::inflate {

// As Inflater::open does for kGzip.
Result<std::unique_ptr<Inflater>> open_gzip(const ByteSource& source, Inflater::OnInput on_input);

}  // namespace seekable::inflate
