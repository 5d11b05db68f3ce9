#include "erofs/data_map.h"

#include <algorithm>

#include "erofs/small_reads.h"

namespace seekable::erofs {

Status DataMap::read(const ByteSource& source, uint64_t offset, MutableBytes out) const {
  const uint64_t end = offset + out.size();
  SmallReads reads(source);
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
    TRY(reads.read(run->source_offset + skipped, out.subspan(position - offset, length)));
    position += length;
  }
  clear_up_to(end);
  return ok();
}

}  // namespace seekable::erofs
