// A tar's entries, read by a thread of its own while those before are used.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/error.h"
#include "tar/reader.h"

namespace seekable::tar {

class ReadAhead {
 public:
  // The reader outlives this, and is nobody else's until next() has returned the end or an error.
  explicit ReadAhead(Reader& reader);
  // Stops the thread, however far it is.
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // As Reader::next(), from one thread.
  Result<std::optional<Entry>> next();

 private:
  // Handed over together: a lock for each entry would cost more than the entry.
  struct Batch {
    std::vector<Entry> entries;
    bool is_last = false;
    std::optional<Error> error;  // after the entries
  };

  void read();
  Batch read_batch();
  bool hand_over(Batch batch);
  Batch take();

  Reader& reader_;
  Batch current_;
  size_t used_ = 0;  // entries of current_

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;  // these two are guarded by mutex_
  bool stopped_ = false;
  std::thread thread_;  // uses the others
};

}  // namespace seekable::tar
