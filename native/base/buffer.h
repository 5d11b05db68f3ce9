// Memory for chunks and frames: large, uninitialised, and a failed allocation is an Error.
#pragma once

#include <sys/mman.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "base/block_pool.h"
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
    if (is_pooled(size)) {
      memory = BlockPool::shared().take(size);
    } else if (posix_memalign(&memory, kAlignment, size == 0 ? kAlignment : size) != 0) {
      memory = nullptr;
    }
    if (memory == nullptr) {
      return Error{ErrorCode::kNoMemory, "buffer", "no memory for " + std::to_string(size) + " bytes",
                   "use fewer threads or smaller chunks"};
    }
    return Buffer(static_cast<uint8_t*>(memory), size, is_pooled(size) ? Owner::kPool : Owner::kAllocator);
  }
  // The same for what somebody else lets go of, whenever that is: the memory goes back to the system at once,
  // where an allocator would keep that of each thread for its next one.
  static Result<Buffer> allocate_to_give(size_t size) {
    constexpr size_t kLeast = size_t{1} << 20;
    if (size < kLeast) return allocate(size);
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return allocate(size);
    return Buffer(static_cast<uint8_t*>(memory), size, Owner::kSystem);
  }

  uint8_t* data() { return memory_.get(); }
  const uint8_t* data() const { return memory_.get(); }
  size_t size() const { return size_; }
  // REQUIRES: length <= size().
  MutableBytes first(size_t length) { return {memory_.get(), length}; }

 private:
  enum class Owner : uint8_t { kAllocator, kPool, kSystem };

  static constexpr bool is_pooled(size_t size) { return kPoolsBlocks && size >= BlockPool::kLeast; }

  struct Free {
    Free() : owner(Owner::kAllocator), size(0) {}
    Free(Owner kind, size_t bytes) : owner(kind), size(bytes) {}
    Owner owner;
    size_t size;
    void operator()(uint8_t* memory) const {
      switch (owner) {
        case Owner::kAllocator: std::free(memory); break;
        case Owner::kPool: BlockPool::shared().give(memory); break;
        case Owner::kSystem: munmap(memory, size); break;
      }
    }
  };
  Buffer(uint8_t* memory, size_t size, Owner owner) : memory_(memory, Free(owner, size)), size_(size) {}

  std::unique_ptr<uint8_t, Free> memory_;
  size_t size_ = 0;
};

}  // namespace seekable
