// BlockPool: memory that goes from one piece of work to the next.
#include "base/block_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace seekable {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

TEST(BlockPool, GivesABlockToTheNextTakerOfThatSize) {
  BlockPool pool;
  uint8_t* const first = pool.take(4 * kMiB);
  ASSERT_NE(first, nullptr);
  first[4 * kMiB - 1] = 7;
  EXPECT_EQ(pool.kept(), 0);
  EXPECT_TRUE(pool.give(first));
  EXPECT_EQ(pool.kept(), 4 * kMiB);
  // Nearly the same size is the same.
  uint8_t* const second = pool.take(4 * kMiB - 100);
  EXPECT_EQ(second, first);
  EXPECT_EQ(pool.kept(), 0);
  pool.give(second);
}

TEST(BlockPool, NeverGivesOneBlockTwice) {
  BlockPool pool;
  pool.give(pool.take(kMiB));
  uint8_t* const one = pool.take(kMiB);
  uint8_t* const other = pool.take(kMiB);
  EXPECT_NE(one, other);
  pool.give(one);
  pool.give(other);
  EXPECT_EQ(pool.kept(), 2 * kMiB);
}

TEST(BlockPool, DoesNotGiveABlockThatIsTooSmallOrMuchTooLarge) {
  BlockPool pool;
  uint8_t* const block = pool.take(4 * kMiB);
  pool.give(block);
  uint8_t* const larger = pool.take(5 * kMiB);
  uint8_t* const smaller = pool.take(kMiB);
  EXPECT_NE(larger, block);
  EXPECT_NE(smaller, block);
  larger[5 * kMiB - 1] = smaller[kMiB - 1] = 1;
  pool.give(larger);
  pool.give(smaller);
}

// Each takes a chunk, a frame, and what it inflates to, a MiB at a time; two are converted side by side.
TEST(BlockPool, KeepsWhatTwoSmallLayersTake) {
  BlockPool pool;
  std::vector<uint8_t*> blocks;
  size_t taken = 0;
  for (const size_t size : {4 * kMiB, 4 * kMiB, kMiB, kMiB, kMiB, kMiB}) {
    for (int layer = 0; layer < 2; ++layer, taken += size) blocks.push_back(pool.take(size));
  }
  for (uint8_t* block : blocks) pool.give(block);
  EXPECT_EQ(pool.kept(), taken);
}

TEST(BlockPool, KeepsNoMoreThanItMay) {
  BlockPool pool;
  std::vector<uint8_t*> blocks;
  for (size_t size = 0; size < 2 * BlockPool::kMostKept; size += 4 * kMiB)
    blocks.push_back(pool.take(4 * kMiB));
  for (uint8_t* block : blocks) pool.give(block);
  EXPECT_EQ(pool.kept(), BlockPool::kMostKept);
  pool.trim();
  EXPECT_EQ(pool.kept(), 0);
}

TEST(BlockPool, KnowsWhatIsNotItsOwn) {
  BlockPool pool;
  uint8_t byte = 0;
  EXPECT_FALSE(pool.give(&byte));
  EXPECT_FALSE(pool.give(nullptr));
}

TEST(BlockPool, SaysWhenThereIsNoMemory) {
  BlockPool pool;
  EXPECT_EQ(pool.take(SIZE_MAX / 2), nullptr);
  EXPECT_EQ(pool.take(SIZE_MAX), nullptr);
}

}  // namespace
}  // namespace seekable
