#include "fuse/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/uio.h>
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

constexpr size_t kRequestSize = size_t{64} << 10;  // above what a folder that can't be written gets
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

// What the kernel asks. `body` follows the header.
struct Server::Request {
  InHeader header;
  Bytes body;

  // The body's first bytes as a struct; zeros where an older kernel sends less.
  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
};

Server::Server(Options options)
    : options_(std::move(options)), generation_(uint64_t{std::random_device{}()} << 32 | 1U) {}

Server::~Server() { stop(); }

Status Server::start(bool take_over) {
  // Several threads wait for the next request, and one of them gets it.
  const int device = options_.device.descriptor();
  if (fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_NONBLOCK) < 0)
    return system_error("/dev/fuse", errno);
  stop_event_ = TRY(make_event());
  completed_event_ = TRY(make_event());
  if (take_over) {
    const OutHeader notice{sizeof(OutHeader), kNotifyResend, 0};
    if (::write(device, &notice, sizeof notice) < 0) return system_error("FUSE_NOTIFY_RESEND", errno);
  }
  for (unsigned i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { serve(); });
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
  if (!threads_.empty()) forget_name(folder, name);
}

// Until this returns the kernel may wait for answers to lookups in the folder: the threads give them.
void Server::forget_name(uint64_t folder, std::string_view name) {
  const std::string text(name);
  const InvalidEntry gone{folder, static_cast<uint32_t>(text.size()), 0};
  const size_t size = sizeof(OutHeader) + sizeof gone + text.size() + 1;
  OutHeader header{static_cast<uint32_t>(size), kNotifyInvalidEntry, 0};
  const iovec parts[] = {{&header, sizeof header},
                         {const_cast<InvalidEntry*>(&gone), sizeof gone},
                         {const_cast<char*>(text.c_str()), text.size() + 1}};
  // ENOENT: it does not know the name. Whatever else fails, it asks again after kValidSeconds.
  [[maybe_unused]] const ssize_t written = ::writev(options_.device.descriptor(), parts, 3);
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
  Result<Buffer> request = Buffer::allocate(kRequestSize);
  Result<Buffer> answer = Buffer::allocate(kMaxRead);
  if (!request.ok() || !answer.ok()) return ended();
  while (wait_for_request()) {
    Reads ready;
    {
      const std::lock_guard lock(completed_mutex_);
      ready.swap(completed_);
    }
    finish(std::move(ready), answer.value().first(kMaxRead));
    give_up_abandoned();
    const ssize_t size = ::read(options_.device.descriptor(), request.value().data(), kRequestSize);
    if (size < 0) {
      // Another thread was quicker, or the request was given up.
      if (errno == EAGAIN || errno == EINTR || errno == ENOENT) continue;
      return ended();
    }
    if (static_cast<size_t>(size) < sizeof(InHeader)) return ended();
    const uint8_t* bytes = request.value().data();
    const Request parsed{load_le<InHeader>(bytes),
                         Bytes(bytes + sizeof(InHeader), static_cast<size_t>(size) - sizeof(InHeader))};
    handle(parsed, answer.value().first(kMaxRead));
  }
}

// False when the server is to stop.
bool Server::wait_for_request() const {
  pollfd descriptors[] = {{options_.device.descriptor(), POLLIN, 0},
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
  if (!has_ended_.exchange(true)) options_.on_event({.kind = Event::Kind::kEnded});
}

void Server::handle(const Request& request, MutableBytes bytes) {
  const uint64_t unique = request.header.unique;
  switch (static_cast<Opcode>(request.header.opcode)) {
    case Opcode::kInit: return initialise(request);
    case Opcode::kLookup: return look_up(request);
    case Opcode::kGetattr: return get_attributes(request);
    case Opcode::kOpen: return open(request);
    case Opcode::kRead: return read_file(request, bytes);
    case Opcode::kReaddir: return read_folder(request);
    case Opcode::kOpendir: return answer_with(unique, OpenOut{});
    case Opcode::kStatfs: return statfs(request);
    case Opcode::kInterrupt: return interrupt(request);
    case Opcode::kForget:
    case Opcode::kBatchForget: return;  // these want no answer
    case Opcode::kRelease: return release(request);
    case Opcode::kFlush:
    case Opcode::kReleasedir:
    case Opcode::kDestroy: return answer(unique, 0);
  }
  answer(unique, -ENOSYS);
}

void Server::initialise(const Request& request) {
  const auto in = request.as<InitIn>();
  if (in.major != kMajor || in.minor < kMinor) return answer(request.header.unique, -EPROTO);
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
  answer_with(request.header.unique, out);
  options_.on_event({.kind = Event::Kind::kInitialised, .resends = resends});
}

void Server::look_up(const Request& request) {
  std::string_view name = as_text(request.body);
  name = name.substr(0, name.find('\0'));
  EntryOut out{};
  {
    const std::shared_lock lock(files_mutex_);
    const std::optional<FolderTree::Entry> entry = folders_.find(request.header.node, name);
    if (!entry) return answer(request.header.unique, -ENOENT);
    out.node = entry->node;
    out.attributes =
        entry->is_folder ? attributes_of_folder(entry->node) : attributes_of(*files_.at(entry->node));
  }
  out.entry_valid = out.attributes_valid = kValidSeconds;
  answer_with(request.header.unique, out);
}

void Server::get_attributes(const Request& request) {
  const uint64_t node = request.header.node;
  AttributesOut out{};
  out.valid = kValidSeconds;
  if (is_folder(node)) {
    out.attributes = attributes_of_folder(node);
  } else {
    const auto file = find(node);
    if (!file) return answer(request.header.unique, -ENOENT);
    out.attributes = attributes_of(*file);
  }
  answer_with(request.header.unique, out);
}

bool Server::is_folder(uint64_t node) const {
  const std::shared_lock lock(files_mutex_);
  return folders_.is_folder(node);
}

void Server::open(const Request& request) {
  const auto file = find(request.header.node);
  if (!file) return answer(request.header.unique, -ENOENT);
  ++file->opened;
  OpenOut out{};
  out.handle = generation_;
  out.flags = kKeepCache;  // a layer's bytes never change
  answer_with(request.header.unique, out);
}

void Server::release(const Request& request) {
  const auto file = find(request.header.node);
  if (file && request.as<ReleaseIn>().handle == generation_ && file->opened > 0) --file->opened;
  answer(request.header.unique, 0);
}

void Server::read_folder(const Request& request) {
  const uint64_t node = request.header.node;
  const auto in = request.as<ReadIn>();
  Listing listing(std::min(in.size, kMaxRead));
  const uint32_t folder = S_IFDIR >> 12;
  // Where to go on: 1 and 2 after the dots, then after an entry's node, which is above both.
  bool has_room = in.offset >= 1 || listing.add(node, 1, folder, ".");
  has_room = has_room && (in.offset >= 2 || listing.add(node, 2, folder, ".."));
  const std::shared_lock lock(files_mutex_);
  if (!folders_.is_folder(node)) return answer(request.header.unique, -ENOENT);
  const auto& names = folders_.names(node);
  for (auto at = names.upper_bound(in.offset); has_room && at != names.end(); ++at) {
    const auto& [number, name] = *at;
    has_room = listing.add(number, number, folders_.is_folder(number) ? folder : S_IFREG >> 12, name);
  }
  answer(request.header.unique, 0, listing.bytes());
}

void Server::read_file(const Request& request, MutableBytes bytes) {
  const auto in = request.as<ReadIn>();
  const auto file = find(request.header.node);
  if (!file) return answer(request.header.unique, -EIO);
  ++file->reads;
  if (in.offset >= file->size() || in.size == 0) return answer(request.header.unique, 0);
  auto read = std::make_unique<PendingRead>();
  read->unique = request.header.unique;
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
  for (const uint64_t chunk : asked) options_.on_event({Event::Kind::kMissing, file->node(), chunk, chunk});
  if (is_first) options_.on_event({Event::Kind::kRead, file->node(), first, last});
  if (read) answer_read(*read, bytes);
}

void Server::interrupt(const Request& request) {
  const auto in = request.as<InterruptIn>();
  // Whoever only handles a signal goes on waiting: no program expects a file's metadata to be interrupted.
  if (waiting_.interrupted(in.unique)) return give_up_abandoned();
  // Another thread has it still in hand: to be told again. The kernel knows what was answered.
  answer(request.header.unique, -EAGAIN);
}

void Server::give_up_abandoned() {
  for (const auto& read : waiting_.abandoned()) answer(read->unique, -EINTR);
}

void Server::statfs(const Request& request) {
  StatfsOut out{};
  out.block_size = out.fragment_size = kBlockSize;
  out.max_name = 255;
  answer_with(request.header.unique, out);
}

void Server::finish(Reads reads, MutableBytes bytes) {
  for (const auto& read : reads) answer_read(*read, bytes);
}

// Answers from memory what came by memory, and from the store's file the rest.
void Server::answer_read(PendingRead& read, MutableBytes bytes) {
  LayerFile& file = *read.file;
  if (read.error != 0) return answer(read.unique, read.error);
  const MutableBytes out = read.in_memory.empty() ? bytes.first(read.size) : read.bytes.first(read.size);
  if (read.in_memory.empty()) {
    if (!file.read(read.offset, out).ok()) return answer(read.unique, -EIO);
  } else {
    const auto [first, last] = file.chunks_of(read.offset, read.size);
    for (uint64_t chunk = first; chunk <= last; ++chunk) {
      if (std::ranges::find(read.in_memory, chunk) != read.in_memory.end()) continue;
      const uint64_t from = std::max(read.offset, file.start(chunk));
      const uint64_t to = std::min(read.offset + read.size, file.start(chunk + 1));
      if (!file.read(from, out.subspan(from - read.offset, to - from)).ok()) return answer(read.unique, -EIO);
    }
  }
  file.bytes_read += read.size;
  answer(read.unique, 0, out);
}

void Server::complete(Reads reads) {
  if (reads.empty()) return;
  {
    const std::lock_guard lock(completed_mutex_);
    std::ranges::move(reads, std::back_inserter(completed_));
  }
  wake(completed_event_);
}

void Server::answer(uint64_t unique, int error, Bytes body) {
  OutHeader header{static_cast<uint32_t>(sizeof(OutHeader) + body.size()), error, unique};
  const iovec parts[] = {{&header, sizeof header}, {const_cast<uint8_t*>(body.data()), body.size()}};
  const int device = options_.device.descriptor();
  if (::writev(device, parts, body.empty() ? 1 : 2) >= 0) return;
  // ENOENT: the request was given up. Anything else must not leave its reader waiting.
  if (errno == ENOENT || body.empty()) return;
  header = {sizeof header, -EIO, unique};
  [[maybe_unused]] const ssize_t written = ::write(device, &header, sizeof header);
}

template <typename T>
void Server::answer_with(uint64_t unique, const T& body) {
  answer(unique, 0, Bytes(reinterpret_cast<const uint8_t*>(&body), sizeof body));
}

}  // namespace seekable::fuse
