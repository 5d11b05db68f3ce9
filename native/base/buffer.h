// Memory for chunks and frames: large, uninitialised, and a failed allocation is an Error.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace seekable {

class Buffer {
 public:
  Buffer() = default;
  // `size` bytes aligned for any vector instruction; their content is undefined.
  static Result<Buffer> allocate(size_t size) {
    constexpr size_t kAlignment = 64;
    void* memory = nullptr;
    if (posix_memalign(&memory, kAlignment, size == 0 ? kAlignment : size) != 0) {
      return Error{ErrorCode::kNoMemory, "buffer", "no memory for " + std::to_string(size) + " bytes",
                   "use fewer threads or smaller chunks"};
    }
    return Buffer(static_cast<uint8_t*>(memory), size);
  }

  uint8_t* data() { return memory_.get(); }
  size_t size() const { return size_; }
  // REQUIRES: length <= size().
  MutableBytes first(size_t length) { return {memory_.get(), length}; }

 private:
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  Buffer(uint8_t* memory, size_t size) : memory_(memory), size_(size) {}

  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

}  // namespace seekable
