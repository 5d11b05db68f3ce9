// The beginning of a zstd frame: what a compressed EROFS file needs, where an extent may use only the first
// bytes of a physical cluster that another extent uses whole.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable::zstd {

// Fills `out` with the first bytes that the frame at the start of `input` decodes to; kCorrupt when there are
// fewer. `whole`: the frame must end there. Bytes after the frame are ignored. Decodes no more than it needs,
// plus one block of 128 KiB; memory is at most 16 MiB, whatever window the frame declares. `name` is what
// errors call the frame.
Status decode_prefix(Bytes input, MutableBytes out, bool whole, const std::string& name);

}  // namespace seekable::zstd
