#include "fuse/server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "fuse/listing.h"

namespace seekable::fuse {

namespace {

constexpr uint32_t kSectorSize = 512;
constexpr uint32_t kBlockSize = 4096;
// What a lookup found stays known to the kernel for this long, if nothing tells it before.
constexpr uint64_t kValidSeconds = 1;
constexpr uint16_t kMaxBackground = 64;  // reads ahead of readers, under way at once
constexpr uint64_t kWake = 1;
// How often those who got a signal are looked at, in milliseconds: of the next one the kernel tells nothing.
constexpr int kSignalPause = 100;

Result<File> make_event() {
  const int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (descriptor < 0) return system_error("eventfd", errno);
  return File(descriptor, "eventfd");
}

void wake(const File& event) {
  [[maybe_unused]] const ssize_t written = ::write(event.descriptor(), &kWake, sizeof kWake);
}

Attributes attributes_of_folder(uint64_t node) {
  Attributes attributes{};
  attributes.node = node;
  attributes.mode = S_IFDIR | 0500;
  attributes.links = 2;
  attributes.block_size = kBlockSize;
  return attributes;
}

Attributes attributes_of(const LayerFile& file) {
  Attributes attributes{};
  attributes.node = file.node();
  attributes.size = file.size();
  attributes.blocks = ceil_divide(file.size(), kSectorSize);
  attributes.mode = S_IFREG | 0400;
  attributes.links = 1;
  attributes.block_size = kBlockSize;
  return attributes;
}

}  // namespace

Server::Server(Options options)
    : connection_(std::move(options.device)),
      thread_count_(options.threads),
      on_event_(std::move(options.on_event)),
      generation_(uint64_t{std::random_device{}()} << 32 | 1U) {}

Server::~Server() { stop(); }

Status Server::start(bool take_over) {
  TRY(connection_.open());
  stop_event_ = TRY(make_event());
  completed_event_ = TRY(make_event());
  if (take_over) TRY(connection_.ask_again());
  for (unsigned i = 0; i < thread_count_; ++i) threads_.emplace_back([this] { serve(); });
  return ok();
}

void Server::stop() {
  if (threads_.empty()) return;
  wake(stop_event_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

Status Server::add(std::shared_ptr<LayerFile> file, uint64_t folder) {
  const std::unique_lock lock(files_mutex_);
  if (files_.contains(file->node()) || folders_.is_folder(file->node()))
    return usage(file->name(), "there is such a file already");
  TRY(folders_.add_file(folder, file->name(), file->node()));
  files_.emplace(file->node(), std::move(file));
  return ok();
}

void Server::remove(uint64_t node) {
  std::shared_ptr<LayerFile> file;
  {
    const std::unique_lock lock(files_mutex_);
    const auto found = files_.find(node);
    if (found == files_.end()) return;
    file = std::move(found->second);
    folders_.remove_file(node);
    files_.erase(found);
  }
  complete(waiting_.dropped(*file, -EIO));
}

Status Server::add_folder(uint64_t folder, const std::string& name, uint64_t node) {
  const std::unique_lock lock(files_mutex_);
  if (files_.contains(node)) return usage(name, "its node is taken");
  return folders_.add_folder(folder, name, node);
}

Status Server::link(uint64_t folder, const std::string& name, uint64_t node) {
  const std::unique_lock lock(files_mutex_);
  if (!files_.contains(node)) return usage(name, "there is no file for it");
  return folders_.add_file(folder, name, node);
}

void Server::unlink(uint64_t folder, std::string_view name) {
  {
    const std::unique_lock lock(files_mutex_);
    folders_.remove(folder, name);
  }
  if (!threads_.empty()) connection_.forget_name(folder, name);
}

std::shared_ptr<LayerFile> Server::find(uint64_t node) const {
  const std::shared_lock lock(files_mutex_);
  const auto found = files_.find(node);
  return found == files_.end() ? nullptr : found->second;
}

void Server::stored(uint64_t node, uint64_t chunk) {
  if (const auto file = find(node); file && chunk < file->chunk_count())
    complete(waiting_.stored(*file, chunk));
}

void Server::delivered(uint64_t node, uint64_t chunk, Bytes bytes) {
  const auto file = find(node);
  if (!file || chunk >= file->chunk_count()) return;
  if (bytes.size() == file->start(chunk + 1) - file->start(chunk))
    complete(waiting_.delivered(*file, chunk, bytes));
  else
    complete(waiting_.failed(*file, chunk, -EIO));
}

void Server::failed(uint64_t node, uint64_t chunk, int error) {
  if (const auto file = find(node); file && chunk < file->chunk_count())
    complete(waiting_.failed(*file, chunk, error));
}

// One thread: requests, and answers that had to wait.
void Server::serve() {
  Result<Buffer> buffer = Buffer::allocate(Connection::kRequestSize);
  Result<Buffer> answer = Buffer::allocate(kMaxRead);
  if (!buffer.ok() || !answer.ok()) return ended();
  while (wait_for_request()) {
    Reads ready;
    {
      const std::lock_guard lock(completed_mutex_);
      ready.swap(completed_);
    }
    finish(std::move(ready), answer.value().first(kMaxRead));
    give_up_abandoned();
    const auto request = connection_.receive(buffer.value().first(Connection::kRequestSize));
    if (!request.ok()) return ended();
    if (request.value()) handle(*request.value(), answer.value().first(kMaxRead));
  }
}

// False when the server is to stop.
bool Server::wait_for_request() const {
  pollfd descriptors[] = {{connection_.descriptor(), POLLIN, 0},
                          {completed_event_.descriptor(), POLLIN, 0},
                          {stop_event_.descriptor(), POLLIN, 0}};
  const int timeout = waiting_.has_interrupted() ? kSignalPause : -1;
  while (::poll(descriptors, 3, timeout) < 0) {
    if (errno != EINTR) return false;
  }
  if (descriptors[2].revents != 0) return false;
  uint64_t count;
  if (descriptors[1].revents != 0) {
    [[maybe_unused]] const ssize_t got = ::read(completed_event_.descriptor(), &count, sizeof count);
  }
  return true;
}

void Server::ended() {
  if (!has_ended_.exchange(true)) on_event_({.kind = Event::Kind::kEnded});
}

void Server::handle(const Request& request, MutableBytes bytes) {
  const uint64_t unique = request.unique();
  switch (static_cast<Opcode>(request.header.opcode)) {
    case Opcode::kInit: return initialise(request);
    case Opcode::kLookup: return look_up(request);
    case Opcode::kGetattr: return get_attributes(request);
    case Opcode::kOpen: return open(request);
    case Opcode::kRead: return read_file(request, bytes);
    case Opcode::kReaddir: return read_folder(request);
    case Opcode::kOpendir: return connection_.answer_with(unique, OpenOut{});
    case Opcode::kStatfs: return statfs(request);
    case Opcode::kInterrupt: return interrupt(request);
    case Opcode::kForget:
    case Opcode::kBatchForget: return;  // these want no answer
    case Opcode::kRelease: return release(request);
    case Opcode::kFlush:
    case Opcode::kReleasedir:
    case Opcode::kDestroy: return connection_.answer(unique, 0);
  }
  connection_.answer(unique, -ENOSYS);
}

void Server::initialise(const Request& request) {
  const auto in = request.as<InitIn>();
  if (in.major != kMajor || in.minor < kMinor) return connection_.answer(request.unique(), -EPROTO);
  const bool resends = (in.flags & flag::kExtended) != 0 && (in.flags2 & flag::kHasResend2) != 0;
  InitOut out{};
  out.major = kMajor;
  out.minor = kMinor;
  out.max_readahead = kMaxRead;
  out.flags = in.flags & (flag::kAsyncRead | flag::kAsyncDirect | flag::kParallelDirectories |
                          flag::kMaxPages | flag::kExtended);
  out.flags2 = resends ? flag::kHasResend2 : 0;
  out.max_background = kMaxBackground;
  out.congestion_threshold = kMaxBackground;
  out.max_write = kBlockSize;
  out.time_granularity = 1;
  out.max_pages = kMaxPages;
  connection_.answer_with(request.unique(), out);
  on_event_({.kind = Event::Kind::kInitialised, .resends = resends});
}

void Server::look_up(const Request& request) {
  std::string_view name = as_text(request.body);
  name = name.substr(0, name.find('\0'));
  EntryOut out{};
  {
    const std::shared_lock lock(files_mutex_);
    const std::optional<FolderTree::Entry> entry = folders_.find(request.node(), name);
    if (!entry) return connection_.answer(request.unique(), -ENOENT);
    out.node = entry->node;
    out.attributes =
        entry->is_folder ? attributes_of_folder(entry->node) : attributes_of(*files_.at(entry->node));
  }
  out.entry_valid = out.attributes_valid = kValidSeconds;
  connection_.answer_with(request.unique(), out);
}

void Server::get_attributes(const Request& request) {
  const uint64_t node = request.node();
  AttributesOut out{};
  out.valid = kValidSeconds;
  if (is_folder(node)) {
    out.attributes = attributes_of_folder(node);
  } else {
    const auto file = find(node);
    if (!file) return connection_.answer(request.unique(), -ENOENT);
    out.attributes = attributes_of(*file);
  }
  connection_.answer_with(request.unique(), out);
}

bool Server::is_folder(uint64_t node) const {
  const std::shared_lock lock(files_mutex_);
  return folders_.is_folder(node);
}

void Server::open(const Request& request) {
  const auto file = find(request.node());
  if (!file) return connection_.answer(request.unique(), -ENOENT);
  ++file->opened;
  OpenOut out{};
  out.handle = generation_;
  out.flags = kKeepCache;  // a layer's bytes never change
  connection_.answer_with(request.unique(), out);
}

void Server::release(const Request& request) {
  const auto file = find(request.node());
  if (file && request.as<ReleaseIn>().handle == generation_ && file->opened > 0) --file->opened;
  connection_.answer(request.unique(), 0);
}

void Server::read_folder(const Request& request) {
  const uint64_t node = request.node();
  const auto in = request.as<ReadIn>();
  Listing listing(std::min(in.size, kMaxRead));
  const uint32_t folder = S_IFDIR >> 12;
  // Where to go on: 1 and 2 after the dots, then after an entry's node, which is above both.
  bool has_room = in.offset >= 1 || listing.add(node, 1, folder, ".");
  has_room = has_room && (in.offset >= 2 || listing.add(node, 2, folder, ".."));
  const std::shared_lock lock(files_mutex_);
  if (!folders_.is_folder(node)) return connection_.answer(request.unique(), -ENOENT);
  const auto& names = folders_.names(node);
  for (auto at = names.upper_bound(in.offset); has_room && at != names.end(); ++at) {
    const auto& [number, name] = *at;
    has_room = listing.add(number, number, folders_.is_folder(number) ? folder : S_IFREG >> 12, name);
  }
  connection_.answer(request.unique(), 0, listing.bytes());
}

void Server::read_file(const Request& request, MutableBytes bytes) {
  const auto in = request.as<ReadIn>();
  const auto file = find(request.node());
  if (!file) return connection_.answer(request.unique(), -EIO);
  ++file->reads;
  if (in.offset >= file->size() || in.size == 0) return connection_.answer(request.unique(), 0);
  auto read = std::make_unique<PendingRead>();
  read->unique = request.unique();
  read->thread = request.header.pid;
  read->file = file;
  read->offset = in.offset;
  read->size = static_cast<uint32_t>(std::min<uint64_t>({in.size, kMaxRead, file->size() - in.offset}));
  if (ReadLog* log = file->log()) log->note(read->offset, read->size);
  const auto [first, last] = file->chunks_of(read->offset, read->size);
  bool is_first = false;
  for (uint64_t chunk = first; chunk <= last; ++chunk) {
    is_first = file->touch(chunk) || is_first;
    if (file->state(chunk) != ChunkState::kPresent) read->missing.push_back(chunk);
  }
  if (read->missing.empty()) {
    ++file->hits;
    file->bytes_hit += read->size;
  }
  std::vector<uint64_t> asked;
  if (!read->missing.empty()) read = waiting_.add(std::move(read), asked);
  for (const uint64_t chunk : asked) on_event_({Event::Kind::kMissing, file->node(), chunk, chunk});
  if (is_first) on_event_({Event::Kind::kRead, file->node(), first, last});
  if (read) answer_read(*read, bytes);
}

void Server::interrupt(const Request& request) {
  const auto in = request.as<InterruptIn>();
  // Whoever only handles a signal goes on waiting: no program expects a file's metadata to be interrupted.
  if (waiting_.interrupted(in.unique)) return give_up_abandoned();
  // Another thread has it still in hand: to be told again. The kernel knows what was answered.
  connection_.answer(request.unique(), -EAGAIN);
}

void Server::give_up_abandoned() {
  for (const auto& read : waiting_.abandoned()) connection_.answer(read->unique, -EINTR);
}

void Server::statfs(const Request& request) {
  StatfsOut out{};
  out.block_size = out.fragment_size = kBlockSize;
  out.max_name = 255;
  connection_.answer_with(request.unique(), out);
}

void Server::finish(Reads reads, MutableBytes bytes) {
  for (const auto& read : reads) answer_read(*read, bytes);
}

// Answers from memory what came by memory, and from the store's file the rest.
void Server::answer_read(PendingRead& read, MutableBytes bytes) {
  LayerFile& file = *read.file;
  if (read.error != 0) return connection_.answer(read.unique, read.error);
  const MutableBytes out = read.in_memory.empty() ? bytes.first(read.size) : read.bytes.first(read.size);
  if (read.in_memory.empty()) {
    if (!file.read(read.offset, out).ok()) return connection_.answer(read.unique, -EIO);
  } else {
    const auto [first, last] = file.chunks_of(read.offset, read.size);
    for (uint64_t chunk = first; chunk <= last; ++chunk) {
      if (std::ranges::find(read.in_memory, chunk) != read.in_memory.end()) continue;
      const uint64_t from = std::max(read.offset, file.start(chunk));
      const uint64_t to = std::min(read.offset + read.size, file.start(chunk + 1));
      if (!file.read(from, out.subspan(from - read.offset, to - from)).ok())
        return connection_.answer(read.unique, -EIO);
    }
  }
  file.bytes_read += read.size;
  connection_.answer(read.unique, 0, out);
}

void Server::complete(Reads reads) {
  if (reads.empty()) return;
  {
    const std::lock_guard lock(completed_mutex_);
    std::ranges::move(reads, std::back_inserter(completed_));
  }
  wake(completed_event_);
}

}  // namespace seekable::fuse
