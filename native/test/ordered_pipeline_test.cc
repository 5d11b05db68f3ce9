#include "base/ordered_pipeline.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

namespace seekable {
namespace {

class OrderedPipelineTest : public testing::TestWithParam<unsigned> {
 protected:
  static constexpr uint64_t kItems = 200;

  OrderedPipeline pipeline() const {
    return {.items = kItems,
            .threads = GetParam(),
            .slots = 2 * GetParam(),
            .produce = {},
            .consume = {},
            .finish = {}};
  }
  Job job_;
};

TEST_P(OrderedPipelineTest, ConsumesInOrderWhateverFinishesFirst) {
  OrderedPipeline work = pipeline();
  std::vector<uint64_t> slots(work.slots);
  std::vector<uint64_t> seen;
  work.produce = [&](uint64_t item, unsigned slot) {
    if (item % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    slots[slot] = item * item;
    return ok();
  };
  work.consume = [&](uint64_t, unsigned slot) {
    seen.push_back(slots[slot]);
    return ok();
  };
  ASSERT_TRUE(run(work, job_).ok());
  ASSERT_EQ(seen.size(), kItems);
  for (uint64_t i = 0; i < kItems; ++i) EXPECT_EQ(seen[i], i * i);
}

TEST_P(OrderedPipelineTest, NeverHasMoreInFlightThanSlots) {
  OrderedPipeline work = pipeline();
  std::atomic<unsigned> in_flight{0};
  std::atomic<unsigned> most{0};
  work.produce = [&](uint64_t, unsigned) {
    const unsigned now = ++in_flight;
    unsigned before = most.load();
    while (now > before && !most.compare_exchange_weak(before, now)) {
    }
    return ok();
  };
  work.consume = [&](uint64_t, unsigned) {
    --in_flight;
    return ok();
  };
  ASSERT_TRUE(run(work, job_).ok());
  EXPECT_LE(most.load(), work.slots);
}

TEST_P(OrderedPipelineTest, TheFirstErrorStopsEverything) {
  OrderedPipeline work = pipeline();
  std::atomic<uint64_t> consumed{0};
  work.produce = [](uint64_t item, unsigned) {
    return item == 50 ? Status(corrupt("item 50", "bad")) : ok();
  };
  work.consume = [&](uint64_t, unsigned) {
    ++consumed;
    return ok();
  };
  const Status status = run(work, job_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "item 50");
  EXPECT_LE(consumed.load(), 50u);
}

TEST_P(OrderedPipelineTest, ErrorsOfConsumersCount) {
  OrderedPipeline work = pipeline();
  work.produce = [](uint64_t, unsigned) { return ok(); };
  work.consume = [](uint64_t item, unsigned) { return item == 3 ? Status(corrupt("item 3", "bad")) : ok(); };
  EXPECT_FALSE(run(work, job_).ok());
}

TEST_P(OrderedPipelineTest, CancellationStopsIt) {
  OrderedPipeline work = pipeline();
  work.produce = [&](uint64_t item, unsigned) {
    if (item == 20) job_.cancel();
    return ok();
  };
  std::atomic<uint64_t> consumed{0};
  work.consume = [&](uint64_t, unsigned) {
    ++consumed;
    return ok();
  };
  const Status status = run(work, job_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
  EXPECT_LT(consumed.load(), kItems);
}

TEST_P(OrderedPipelineTest, EveryItemIsFinishedAfterItWasConsumedAndKeepsItsSlot) {
  OrderedPipeline work = pipeline();
  std::vector<uint64_t> slots(work.slots);
  std::vector<std::atomic<int>> steps(kItems);
  std::atomic<uint64_t> wrong{0};
  work.produce = [&](uint64_t item, unsigned slot) {
    slots[slot] = item;
    return ok();
  };
  work.consume = [&](uint64_t item, unsigned) {
    ++steps[item];
    return ok();
  };
  work.finish = [&](uint64_t item, unsigned slot) {
    if (item % 7 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    if (steps[item]++ != 1 || slots[slot] != item) ++wrong;
    return ok();
  };
  ASSERT_TRUE(run(work, job_).ok());
  EXPECT_EQ(wrong.load(), 0u);
  for (const auto& count : steps) EXPECT_EQ(count.load(), 2);
}

TEST_P(OrderedPipelineTest, ErrorsOfFinishersCount) {
  OrderedPipeline work = pipeline();
  work.produce = work.consume = [](uint64_t, unsigned) { return ok(); };
  work.finish = [](uint64_t item, unsigned) { return item == 3 ? Status(corrupt("item 3", "bad")) : ok(); };
  EXPECT_FALSE(run(work, job_).ok());
}

TEST_P(OrderedPipelineTest, RunningOutOfMemoryIsAnError) {
  OrderedPipeline work = pipeline();
  work.produce = [](uint64_t, unsigned) -> Status { throw std::bad_alloc(); };
  work.consume = [](uint64_t, unsigned) { return ok(); };
  const Status status = run(work, job_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kNoMemory);
}

INSTANTIATE_TEST_SUITE_P(Threads, OrderedPipelineTest, testing::Values(1, 2, 8));

TEST(OrderedPipeline, NothingToDo) {
  Job job;
  EXPECT_TRUE(
      run({.items = 0, .threads = 4, .slots = 8, .produce = {}, .consume = {}, .finish = {}}, job).ok());
}

}  // namespace
}  // namespace seekable
