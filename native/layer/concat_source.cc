#include "layer/concat_source.h"

#include <algorithm>

namespace seekable::layer {

ConcatSource::ConcatSource(std::vector<std::shared_ptr<const ByteSource>> parts)
    : parts_(std::move(parts)), starts_{0} {
  for (const auto& part : parts_) starts_.push_back(starts_.back() + part->size());
}

Status ConcatSource::read_at(uint64_t offset, MutableBytes out) const {
  if (offset > size() || out.size() > size() - offset) return corrupt("source", "read beyond its end");
  // The last part that begins at or before `offset`; empty ones before it are passed over.
  auto start = std::upper_bound(starts_.begin(), starts_.end(), offset) - 1;
  for (; !out.empty(); ++start) {
    const ByteSource& part = *parts_[start - starts_.begin()];
    const uint64_t inside = offset - *start;
    const size_t length = std::min<uint64_t>(out.size(), part.size() - inside);
    TRY(part.read_at(inside, out.first(length)));
    out = out.subspan(length);
    offset += length;
  }
  return ok();
}

}  // namespace seekable::layer
