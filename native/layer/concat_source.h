// Sources behind each other, read as one.
#pragma once

#include <memory>
#include <vector>

#include "base/io.h"

namespace seekable::layer {

class ConcatSource final : public ByteSource {
 public:
  explicit ConcatSource(std::vector<std::shared_ptr<const ByteSource>> parts);
  uint64_t size() const override { return starts_.back(); }
  Status read_at(uint64_t offset, MutableBytes out) const override;

 private:
  std::vector<std::shared_ptr<const ByteSource>> parts_;
  std::vector<uint64_t> starts_;  // of each part, and last the end of all
};

}  // namespace seekable::layer
