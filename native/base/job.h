// A running operation as both sides see it: the caller may cancel it and ask how far it is, the worker
// counts.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/error.h"

namespace seekable {

// Every member may be used from any thread.
class Job {
 public:
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool is_cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  // kCancelled once cancel() was called. Loops ask at least once per chunk or megabyte.
  Status check() const { return is_cancelled() ? Status(cancelled()) : ok(); }

  // A new phase of `total` bytes begins. `phase` must be a string literal: "inflate", "plan", "encode", …
  void begin(const char* phase, uint64_t total) {
    done_.store(0, std::memory_order_relaxed);
    total_.store(total, std::memory_order_relaxed);
    phase_.store(phase, std::memory_order_release);
  }
  void advance(uint64_t bytes) { done_.fetch_add(bytes, std::memory_order_relaxed); }

  const char* phase() const { return phase_.load(std::memory_order_acquire); }
  uint64_t done() const { return done_.load(std::memory_order_relaxed); }
  uint64_t total() const { return total_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
  std::atomic<const char*> phase_{"start"};
  std::atomic<uint64_t> done_{0};
  std::atomic<uint64_t> total_{0};
};

}  // namespace seekable
