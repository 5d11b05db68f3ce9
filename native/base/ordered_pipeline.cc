#include "base/ordered_pipeline.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
#include <vector>

namespace seekable {

namespace {

class Runner {
 public:
  Runner(const OrderedPipeline& pipeline, const Job& job)
      : pipeline_(pipeline), job_(job), stages_(pipeline.slots, Stage::kFree) {}

  Status run() {
    std::vector<std::jthread> helpers;
    for (unsigned i = 1; i < pipeline_.threads && i < pipeline_.items; ++i) {
      helpers.emplace_back([this] { work(); });
    }
    work();
    helpers.clear();  // joins
    if (error_) return std::move(*error_);
    return ok();
  }

 private:
  enum class Stage : uint8_t { kFree, kProducing, kReady, kConsumed };

  void work() {
    std::unique_lock lock(mutex_);
    while (!error_ && done_ < pipeline_.items) {
      // The later step first: it frees a slot.
      if (can_consume()) {
        consume_next(lock);
      } else if (!unfinished_.empty()) {
        finish_next(lock);
      } else if (can_produce()) {
        produce_next(lock);
      } else {
        changed_.wait(lock);
      }
    }
    changed_.notify_all();
  }

  Stage& stage(uint64_t item) { return stages_[item % pipeline_.slots]; }
  bool can_consume() {
    return !consuming_ && consumed_ < pipeline_.items && stage(consumed_) == Stage::kReady;
  }
  bool can_produce() { return next_ < pipeline_.items && stage(next_) == Stage::kFree; }

  void produce_next(std::unique_lock<std::mutex>& lock) {
    const uint64_t item = next_++;
    stage(item) = Stage::kProducing;
    perform(lock, pipeline_.produce, item);
    stage(item) = Stage::kReady;
    changed_.notify_all();
  }

  void consume_next(std::unique_lock<std::mutex>& lock) {
    consuming_ = true;
    const uint64_t item = consumed_;
    perform(lock, pipeline_.consume, item);
    ++consumed_;
    consuming_ = false;
    stage(item) = Stage::kConsumed;
    if (pipeline_.finish) {
      unfinished_.push_back(item);
    } else {
      release(item);
    }
    changed_.notify_all();
  }

  void finish_next(std::unique_lock<std::mutex>& lock) {
    const uint64_t item = unfinished_.front();
    unfinished_.pop_front();
    perform(lock, pipeline_.finish, item);
    release(item);
    changed_.notify_all();
  }

  void release(uint64_t item) {
    stage(item) = Stage::kFree;
    ++done_;
  }

  // Runs one step without the lock; the first failure stops everything.
  void perform(std::unique_lock<std::mutex>& lock, const std::function<Status(uint64_t, unsigned)>& step,
               uint64_t item) {
    lock.unlock();
    Status status = attempt(step, item);
    lock.lock();
    if (!status.ok() && !error_) error_ = std::move(status.error());
  }

  Status attempt(const std::function<Status(uint64_t, unsigned)>& step, uint64_t item) {
    try {  // an exception must not leave a thread
      TRY(job_.check());
      return step(item, static_cast<unsigned>(item % pipeline_.slots));
    } catch (const std::bad_alloc&) {
      return Error{ErrorCode::kNoMemory, "chunk " + std::to_string(item), "out of memory",
                   "use fewer threads"};
    }
  }

  const OrderedPipeline& pipeline_;
  const Job& job_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Stage> stages_;        // of the item in each slot
  std::deque<uint64_t> unfinished_;  // consumed, and nobody finishes them yet
  uint64_t next_ = 0;                // first item that nobody has begun
  uint64_t consumed_ = 0;            // items consumed
  uint64_t done_ = 0;                // items that left their slots
  bool consuming_ = false;
  std::optional<Error> error_;
};

}  // namespace

Status run(const OrderedPipeline& pipeline, const Job& job) { return Runner(pipeline, job).run(); }

}  // namespace seekable
