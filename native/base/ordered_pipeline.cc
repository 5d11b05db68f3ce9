#include "base/ordered_pipeline.h"

#include <condition_variable>
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
      : pipeline_(pipeline), job_(job), ready_(pipeline.slots, false) {}

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
  void work() {
    std::unique_lock lock(mutex_);
    while (!error_ && consumed_ < pipeline_.items) {
      if (can_consume()) {
        consume_next(lock);
      } else if (can_produce()) {
        produce_next(lock);
      } else {
        changed_.wait(lock);
      }
    }
    changed_.notify_all();
  }

  bool can_consume() const { return !consuming_ && ready_[consumed_ % pipeline_.slots]; }
  bool can_produce() const { return next_ < pipeline_.items && next_ < consumed_ + pipeline_.slots; }

  void consume_next(std::unique_lock<std::mutex>& lock) {
    consuming_ = true;
    const uint64_t item = consumed_;
    perform(lock, pipeline_.consume, item);
    ready_[item % pipeline_.slots] = false;
    ++consumed_;
    consuming_ = false;
    changed_.notify_all();
  }

  void produce_next(std::unique_lock<std::mutex>& lock) {
    const uint64_t item = next_++;
    perform(lock, pipeline_.produce, item);
    ready_[item % pipeline_.slots] = true;
    changed_.notify_all();
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
  std::vector<bool> ready_;  // by slot: produced, not yet consumed
  uint64_t next_ = 0;        // first item that nobody has begun
  uint64_t consumed_ = 0;    // items consumed
  bool consuming_ = false;
  std::optional<Error> error_;
};

}  // namespace

Status run(const OrderedPipeline& pipeline, const Job& job) { return Runner(pipeline, job).run(); }

}  // namespace seekable
