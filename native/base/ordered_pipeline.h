// Many items at once, results in order, memory bounded by the number of slots.
#pragma once

#include <cstdint>
#include <functional>

#include "base/error.h"
#include "base/job.h"

namespace seekable {

struct OrderedPipeline {
  uint64_t items;
  unsigned threads;  // >= 1; the calling thread is one of them
  unsigned slots;    // >= threads; item i uses slot i % slots, from produce() to its last step
  // Called for every item, by several threads at once.
  std::function<Status(uint64_t item, unsigned slot)> produce;
  // Called for every item in order, by one thread at a time, whichever is free: no thread ever waits just to
  // consume.
  std::function<Status(uint64_t item, unsigned slot)> consume;
  // May be empty. Called for every consumed item, by several threads at once: what needs the order's result,
  // but not the order.
  std::function<Status(uint64_t item, unsigned slot)> finish = {};
};

// Returns when every item went through all steps, or the first error once all threads have stopped.
Status run(const OrderedPipeline& pipeline, const Job& job);

}  // namespace seekable
