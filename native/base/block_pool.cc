#include "base/block_pool.h"

#include <sys/mman.h>

#include <iterator>

#include "base/checked.h"

namespace seekable {

namespace {
// So that blocks of nearly the same size fit each other.
constexpr size_t kGranularity = size_t{64} << 10;
}  // namespace

BlockPool& BlockPool::shared() {
  static auto* pool = new BlockPool;  // never destroyed: threads may end after the program's statics
  return *pool;
}

uint8_t* BlockPool::take(size_t size) {
  const std::lock_guard lock(mutex_);
  // The one given last is the likeliest to be in a cache. One of twice the size would be a waste.
  for (auto block = kept_blocks_.rbegin(); block != kept_blocks_.rend(); ++block) {
    if (block->capacity < size || block->capacity / 2 > size) continue;
    const Block found = *block;
    kept_blocks_.erase(std::next(block).base());
    kept_ -= found.capacity;
    taken_.emplace(found.memory, found.capacity);
    return found.memory;
  }
  if (size > SIZE_MAX - kGranularity) return nullptr;
  const size_t capacity = round_up(size, kGranularity);
  void* memory = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  taken_.emplace(static_cast<uint8_t*>(memory), capacity);
  return static_cast<uint8_t*>(memory);
}

bool BlockPool::give(uint8_t* block) {
  const std::lock_guard lock(mutex_);
  const auto found = taken_.find(block);
  if (found == taken_.end()) return false;
  const size_t capacity = found->second;
  taken_.erase(found);
  if (capacity > kMostKept - kept_) {
    munmap(block, capacity);
  } else {
    kept_blocks_.push_back({block, capacity});
    kept_ += capacity;
  }
  return true;
}

void BlockPool::trim() {
  const std::lock_guard lock(mutex_);
  for (const Block& block : kept_blocks_) munmap(block.memory, block.capacity);
  kept_blocks_.clear();
  kept_ = 0;
}

size_t BlockPool::kept() const {
  const std::lock_guard lock(mutex_);
  return kept_;
}

}  // namespace seekable
