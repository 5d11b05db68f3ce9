#include "erofs/data_map.h"

#include <algorithm>

namespace seekable::erofs {

void DataMap::add_file(const Tree& tree, const Inode& inode, uint64_t from, uint64_t length,
                       uint64_t offset) {
  const uint64_t end = from + length;
  Extent whole;
  const std::span extents = tree.extents_of(inode, whole);
  auto extent = std::ranges::partition_point(
      extents, [&](const Extent& e) { return e.file_offset + e.length <= from; });
  for (; extent != extents.end() && extent->file_offset < end; ++extent) {
    const uint64_t begin = std::max(from, extent->file_offset);
    const uint64_t count = std::min(end, extent->file_offset + extent->length) - begin;
    add(offset + (begin - from), extent->source_offset + (begin - extent->file_offset), count);
  }
}

std::vector<uint64_t> DataMap::file_pieces() const {
  std::vector<uint64_t> pieces;
  pieces.reserve(2 * runs_.size());
  for (const Run& run : runs_) pieces.insert(pieces.end(), {run.offset, run.length});
  return pieces;
}

Status DataMap::read(const ByteSource& source, uint64_t offset, MutableBytes out) const {
  SmallReads reads(source);
  return read(reads, offset, out);
}

Status DataMap::read(SmallReads& source, uint64_t offset, MutableBytes out) const {
  const uint64_t end = offset + out.size();
  uint64_t position = offset;  // in the image: everything before it is filled
  const auto clear_up_to = [&](uint64_t to) {
    std::fill_n(out.data() + (position - offset), to - position, uint8_t{0});
    position = to;
  };
  auto run = std::ranges::partition_point(runs_, [&](const Run& r) { return r.end() <= offset; });
  for (; run != runs_.end() && run->offset < end; ++run) {
    clear_up_to(std::max(position, run->offset));
    const uint64_t skipped = position - run->offset;
    const uint64_t length = std::min(run->length - skipped, end - position);
    TRY(source.read(run->source_offset + skipped, out.subspan(position - offset, length)));
    position += length;
  }
  clear_up_to(end);
  return ok();
}

}  // namespace seekable::erofs
