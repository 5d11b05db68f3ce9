#include "base/spill.h"

#include <algorithm>

namespace seekable {

Status Spill::append(Bytes bytes, const std::string& temporary_directory) {
  if (!recent_.empty() && bytes.size() > most_in_memory_ - std::min(recent_.size(), most_in_memory_)) {
    if (file_.descriptor() < 0) file_ = TRY(File::temporary(temporary_directory));
    TRY(file_.write_at(spilled_, recent_));
    spilled_ += recent_.size();
    recent_.clear();
  }
  recent_.insert(recent_.end(), bytes.begin(), bytes.end());
  return ok();
}

Status Spill::read_at(uint64_t offset, MutableBytes out) const {
  if (offset < spilled_) {
    const size_t part = static_cast<size_t>(std::min<uint64_t>(out.size(), spilled_ - offset));
    TRY(file_.read_at(offset, out.first(part)));
    out = out.subspan(part);
    offset += part;
  }
  if (out.empty()) return ok();  // so that spilled_ <= offset below
  std::copy_n(recent_.begin() + static_cast<ptrdiff_t>(offset - spilled_), out.size(), out.begin());
  return ok();
}

}  // namespace seekable
