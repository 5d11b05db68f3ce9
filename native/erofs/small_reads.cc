#include "erofs/small_reads.h"

#include <algorithm>

namespace seekable::erofs {

namespace {

constexpr size_t kSmall = size_t{4} << 10;
constexpr size_t kWindow = size_t{64} << 10;
constexpr uint64_t kHeaders = 4096;  // two files with no more than that between them are neighbours

}  // namespace

Status SmallReads::read(uint64_t offset, MutableBytes out) {
  if (out.size() > kSmall) return source_.read_at(offset, out);
  // A small file among large ones is read alone: what lies around it is read by others.
  const bool is_neighbour = offset >= last_end_ && offset - last_end_ <= kHeaders;
  last_end_ = offset + out.size();
  if (!holds(offset, out.size())) {
    if (!is_neighbour || last_end_ > size_) return source_.read_at(offset, out);
    TRY(fill(offset));
  }
  std::copy_n(window_.begin() + static_cast<ptrdiff_t>(offset - start_), out.size(), out.begin());
  return ok();
}

Status SmallReads::fill(uint64_t offset) {
  window_.resize(static_cast<size_t>(std::min<uint64_t>(kWindow, size_ - offset)));
  start_ = offset;
  Status read = source_.read_at(offset, window_);
  if (!read.ok()) window_.clear();
  return read;
}

}  // namespace seekable::erofs
