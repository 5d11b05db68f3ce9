// Serves a folder of layer files on a descriptor of /dev/fuse. Threads answer what is in the store's files;
// what is missing is asked for, and answered when it comes. No thread ever touches the mount itself.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"
#include "fuse/connection.h"
#include "fuse/folder_tree.h"
#include "fuse/layer_file.h"
#include "fuse/protocol.h"
#include "fuse/waiting_reads.h"

namespace seekable::fuse {

// What the server tells its owner, from any of its threads.
struct Event {
  enum class Kind : uint8_t {
    kRead,         // chunks `first` to `last` were read for the first time
    kMissing,      // a reader waits for chunk `first` (= `last`), which nobody was asked for
    kInitialised,  // the kernel has introduced itself: `resends` tells whether it can repeat requests
    kEnded,        // the mount is gone, or the connection was aborted: nothing comes any more
  };
  Kind kind;
  uint64_t node = 0;
  uint64_t first = 0;
  uint64_t last = 0;
  bool resends = false;
};

class Server {
 public:
  struct Options {
    File device;  // /dev/fuse; others may hold it too, and take over when this one ends
    unsigned threads = 1;
    std::function<void(const Event&)> on_event;
  };
  explicit Server(Options options);
  ~Server();  // stop()

  // Begins to answer. `take_over`: another server answered before, and the kernel is asked to repeat what
  // that one left unanswered.
  Status start(bool take_over);
  // Ends the threads; reads that wait stay unanswered, for the next server. Idempotent.
  void stop();

  // Shows a file in a folder. kUsage when the node or the name is taken, or there is no such folder.
  Status add(std::shared_ptr<LayerFile> file, uint64_t folder = kRootNode);
  // Readers that wait get EIO. Its names are free again.
  void remove(uint64_t node);
  // Folders, and more names of files: see FolderTree. kUsage for a file that is not there.
  Status add_folder(uint64_t folder, const std::string& name, uint64_t node);
  Status link(uint64_t folder, const std::string& name, uint64_t node);
  // Whoever opens the name from now on does not find it. Not to be called by who could be waited for: the
  // kernel waits for lookups that are under way.
  void unlink(uint64_t folder, std::string_view name);
  // Null when there is none.
  std::shared_ptr<LayerFile> find(uint64_t node) const;

  // What became of a chunk: see WaitingReads.
  void stored(uint64_t node, uint64_t chunk);
  void delivered(uint64_t node, uint64_t chunk, Bytes bytes);
  void failed(uint64_t node, uint64_t chunk, int error);

 private:
  using Reads = std::vector<std::unique_ptr<PendingRead>>;

  void serve();
  bool wait_for_request() const;
  void handle(const Request& request, MutableBytes answer);
  void initialise(const Request& request);
  bool is_folder(uint64_t node) const;
  void look_up(const Request& request);
  void get_attributes(const Request& request);
  void open(const Request& request);
  void release(const Request& request);
  void read_folder(const Request& request);
  void read_file(const Request& request, MutableBytes answer);
  void interrupt(const Request& request);
  void give_up_abandoned();
  void statfs(const Request& request);

  void finish(Reads reads, MutableBytes answer);
  void answer_read(PendingRead& read, MutableBytes answer);
  void complete(Reads reads);
  void ended();

  Connection connection_;
  const unsigned thread_count_;
  const std::function<void(const Event&)> on_event_;
  File stop_event_;
  std::vector<std::thread> threads_;
  std::atomic<bool> has_ended_{false};

  mutable std::shared_mutex files_mutex_;
  std::unordered_map<uint64_t, std::shared_ptr<LayerFile>> files_;
  FolderTree folders_;
  // The handle of what this server opened: what an earlier one did is released here as well, and not counted.
  const uint64_t generation_;

  WaitingReads waiting_;
  // For answers to reads that had to wait: they come from the owner's thread, which must not wait for a disk.
  std::mutex completed_mutex_;
  Reads completed_;
  File completed_event_;
};

}  // namespace seekable::fuse
