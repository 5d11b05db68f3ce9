// Large blocks of memory that go from one piece of work to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

namespace seekable {

// AddressSanitizer sees no access beyond the end of a block of the pool, so nothing uses it there.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kPoolsBlocks = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kPoolsBlocks = false;
#else
inline constexpr bool kPoolsBlocks = true;
#endif
#else
inline constexpr bool kPoolsBlocks = true;
#endif

// Fresh memory costs a page fault and a cleared page every 4 KiB: for a small layer that is as much as
// hashing it. So blocks that were given back are kept for the next taker. Every method may be called from
// several threads at once.
class BlockPool {
 public:
  // Smaller blocks are the allocator's.
  static constexpr size_t kLeast = size_t{128} << 10;
  // So many bytes are kept at most; what is given back beyond that goes to the system.
  static constexpr size_t kMostKept = size_t{32} << 20;

  static BlockPool& shared();
  BlockPool() = default;
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;
  ~BlockPool() { trim(); }

  // At least `size` bytes, whose content is undefined, at the start of a page; null when there is no memory.
  uint8_t* take(size_t size);
  // False for what is not from take(), of which nothing becomes.
  bool give(uint8_t* block);
  // Gives what is kept back to the system.
  void trim();
  size_t kept() const;

 private:
  struct Block {
    uint8_t* memory;
    size_t capacity;
  };

  mutable std::mutex mutex_;
  std::map<uint8_t*, size_t> taken_;  // the capacity of each
  std::vector<Block> kept_blocks_;    // the last one given is the last
  size_t kept_ = 0;                   // bytes in them
};

}  // namespace seekable
