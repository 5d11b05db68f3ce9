// The server against a socket that keeps messages apart, in the kernel's place.
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "fuse/protocol.h"
#include "fuse/server.h"

namespace seekable::fuse {
namespace {

constexpr uint64_t kNode = 7;
constexpr uint64_t kChunk = 4096;
constexpr size_t kPatience = 20000;  // milliseconds; guards against a hang, decides nothing

struct Answer {
  OutHeader header;
  std::vector<uint8_t> body;

  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
};

class FuseServer : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    kernel_ = File(ends[0], "kernel");
    device_ = File(ends[1], "device");
    bytes_.resize(3 * kChunk - 100);
    std::iota(bytes_.begin(), bytes_.end(), uint8_t{3});
    data_ = std::move(File::temporary("/tmp").value());
  }

  void start(uint8_t present, bool take_over = false) {
    server_ = std::make_unique<Server>(
        Server::Options{.device = std::move(File::duplicate(device_.descriptor(), "device").value()),
                        .threads = 2,
                        .on_event = [this](const Event& event) { keep(event); }});
    ASSERT_TRUE(server_->add(layer("layer", kNode, present)).ok());
    ASSERT_TRUE(server_->start(take_over).ok());
  }

  std::shared_ptr<LayerFile> layer(const std::string& name, uint64_t node, uint8_t present) {
    const uint8_t bits[] = {present};
    return LayerFile::create({.node = node,
                              .name = name,
                              .data = std::move(File::duplicate(data_.descriptor(), name).value()),
                              .starts = {0, kChunk, 2 * kChunk, bytes_.size()},
                              .present = bits})
        .value();
  }

  void store(uint64_t chunk) {
    ASSERT_TRUE(data_.write_at(chunk * kChunk, content(chunk * kChunk, kChunk)).ok());
  }
  Bytes content(uint64_t offset, uint64_t length) const {
    return Bytes(bytes_).subspan(offset, std::min<uint64_t>(length, bytes_.size() - offset));
  }

  template <typename T>
  uint64_t ask(Opcode opcode, uint64_t node, const T& body) {
    std::vector<uint8_t> message(sizeof(InHeader) + sizeof body);
    const InHeader header{static_cast<uint32_t>(message.size()),
                          static_cast<uint32_t>(opcode),
                          ++unique_,
                          node,
                          0,
                          0,
                          caller_,
                          0,
                          0};
    std::memcpy(message.data(), &header, sizeof header);
    std::memcpy(message.data() + sizeof header, &body, sizeof body);
    EXPECT_EQ(write(kernel_.descriptor(), message.data(), message.size()), ssize_t(message.size()));
    return unique_;
  }
  uint64_t ask_read(uint64_t offset, uint32_t size, Opcode opcode = Opcode::kRead, uint64_t node = kNode) {
    return ask(opcode, node, ReadIn{0, offset, size, 0, 0, 0, 0});
  }

  // The next answer; one with unique 0 and error 1 when none comes.
  Answer next() {
    pollfd descriptor{kernel_.descriptor(), POLLIN, 0};
    if (poll(&descriptor, 1, kPatience) != 1) return {{0, 1, 0}, {}};
    std::vector<uint8_t> message(sizeof(OutHeader) + kMaxRead);
    const ssize_t size = read(kernel_.descriptor(), message.data(), message.size());
    if (size < ssize_t(sizeof(OutHeader))) return {{0, 1, 0}, {}};
    return {load_le<OutHeader>(message.data()),
            std::vector<uint8_t>(message.begin() + sizeof(OutHeader), message.begin() + size)};
  }
  bool is_silent() {
    pollfd descriptor{kernel_.descriptor(), POLLIN, 0};
    return poll(&descriptor, 1, 0) == 0;
  }
  void expect_content(const Answer& answer, uint64_t offset, uint64_t length) {
    EXPECT_EQ(answer.header.error, 0);
    const Bytes expected = content(offset, length);
    EXPECT_EQ(answer.body, std::vector<uint8_t>(expected.begin(), expected.end()));
  }

  void keep(const Event& event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    came_.notify_all();
  }
  // The next event of a kind; others before it are dropped.
  Event next(Event::Kind kind) {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool came =
          came_.wait_for(lock, std::chrono::milliseconds(kPatience), [&] { return !events_.empty(); });
      if (!came) return {Event::Kind::kEnded, ~uint64_t{0}};
      const Event event = events_.front();
      events_.pop_front();
      if (event.kind == kind) return event;
    }
  }

  File kernel_;
  File device_;
  File data_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<Server> server_;
  uint64_t unique_ = 0;
  uint32_t caller_ = 0;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Event> events_;
};

TEST_F(FuseServer, SaysWhatItCanDo) {
  start(0);
  const uint32_t offered = flag::kExtended | flag::kMaxPages | flag::kAsyncRead | 1U << 16;
  ask(Opcode::kInit, 0, InitIn{kMajor, 45, 1 << 17, offered, flag::kHasResend2 | 1});
  const auto out = next().as<InitOut>();
  EXPECT_EQ(out.major, kMajor);
  EXPECT_EQ(out.flags, flag::kExtended | flag::kMaxPages | flag::kAsyncRead);
  EXPECT_EQ(out.flags2, flag::kHasResend2);
  EXPECT_EQ(out.max_pages, kMaxPages);
  EXPECT_TRUE(next(Event::Kind::kInitialised).resends);
  ask(Opcode::kInit, 0,
      InitIn{kMajor, 36, 0, 0, flag::kHasResend2});  // not extended: flags2 is no such thing
  EXPECT_EQ(next().as<InitOut>().flags2, 0U);
  EXPECT_FALSE(next(Event::Kind::kInitialised).resends);
  ask(Opcode::kInit, 0, InitIn{kMajor, 8, 0, 0, 0});
  EXPECT_EQ(next().header.error, -EPROTO);
}

TEST_F(FuseServer, ShowsItsFiles) {
  start(0);
  ASSERT_TRUE(server_->add(layer("another", kNode + 1, 0)).ok());
  EXPECT_FALSE(server_->add(layer("layer", kNode + 2, 0)).ok());
  EXPECT_FALSE(server_->add(layer("third", kNode, 0)).ok());
  const char name[] = "layer";
  ask(Opcode::kLookup, kRootNode, name);
  const auto entry = next().as<EntryOut>();
  EXPECT_EQ(entry.node, kNode);
  EXPECT_EQ(entry.attributes.size, bytes_.size());
  const char unknown[] = "nobody";
  ask(Opcode::kLookup, kRootNode, unknown);
  EXPECT_EQ(next().header.error, -ENOENT);
  ask(Opcode::kGetattr, kNode + 9, uint64_t{0});
  EXPECT_EQ(next().header.error, -ENOENT);
  ask_read(0, 4096, Opcode::kReaddir, kRootNode);
  const std::string listed(reinterpret_cast<const char*>(next().body.data()), 128);
  EXPECT_NE(listed.find("another"), std::string::npos);
  ask_read(kNode, 4096, Opcode::kReaddir, kRootNode);
  EXPECT_EQ(load_le<DirectoryEntry>(next().body.data()).node, kNode + 1);
  ask_read(kNode + 1, 4096, Opcode::kReaddir, kRootNode);
  EXPECT_TRUE(next().body.empty());
  ask(static_cast<Opcode>(99), kNode, uint64_t{0});
  EXPECT_EQ(next().header.error, -ENOSYS);
}

TEST_F(FuseServer, ShowsFoldersAndFilesByOtherNames) {
  start(0);
  constexpr uint64_t kFolder = 1000;
  constexpr uint64_t kInner = 1001;
  ASSERT_TRUE(server_->add_folder(kRootNode, "cache", kFolder).ok());
  ASSERT_TRUE(server_->add_folder(kFolder, "ab", kInner).ok());
  EXPECT_FALSE(server_->add_folder(kFolder, "cd", kInner).ok());
  EXPECT_FALSE(server_->add_folder(77, "cd", 1002).ok());
  EXPECT_FALSE(server_->add_folder(kFolder, "cd", kNode).ok());
  ASSERT_TRUE(server_->link(kInner, "name", kNode).ok());
  EXPECT_FALSE(server_->link(kInner, "again", kNode).ok());
  EXPECT_FALSE(server_->link(kInner, "nobody", kNode + 5).ok());
  ASSERT_TRUE(server_->add(layer("beside", kNode + 1, 0), kInner).ok());
  const auto look_up = [&](uint64_t folder, const auto& name) {
    ask(Opcode::kLookup, folder, name);
    const Answer answer = next();
    return answer.header.error == 0 ? answer.as<EntryOut>() : EntryOut{};
  };
  EXPECT_EQ(look_up(kRootNode, "cache").node, kFolder);
  EXPECT_EQ(look_up(kFolder, "ab").attributes.mode, S_IFDIR | 0500U);
  EXPECT_EQ(look_up(kInner, "name").node, kNode);
  EXPECT_EQ(look_up(kInner, "beside").node, kNode + 1);
  EXPECT_EQ(look_up(kRootNode, "beside").node, 0U);
  EXPECT_EQ(look_up(kNode, "name").node, 0U);
  ask_read(2, 4096, Opcode::kReaddir, kFolder);
  const Answer listed = next();
  EXPECT_EQ(load_le<DirectoryEntry>(listed.body.data()).type, uint32_t{S_IFDIR >> 12});
  ask_read(0, 4096, Opcode::kReaddir, kNode);
  EXPECT_EQ(next().header.error, -ENOENT);
  server_->remove(kNode);
  EXPECT_EQ(look_up(kInner, "name").node, 0U);
  server_->unlink(kRootNode, "cache");
  const Answer notice = next();
  EXPECT_EQ(notice.header.unique, 0U);
  EXPECT_EQ(notice.header.error, kNotifyInvalidEntry);
  EXPECT_EQ(notice.as<InvalidEntry>().folder, kRootNode);
  EXPECT_EQ(std::string(notice.body.begin() + sizeof(InvalidEntry), notice.body.end()),
            std::string("cache", 6));
  EXPECT_EQ(look_up(kFolder, "ab").node, 0U);
  ask(Opcode::kGetattr, kInner, uint64_t{0});
  EXPECT_EQ(next().header.error, -ENOENT);
}

TEST_F(FuseServer, CountsWhatIsOpen) {
  start(0);
  const auto opened = [&] { return server_->find(kNode)->opened.load(); };
  ask(Opcode::kOpen, kNode, uint64_t{0});
  const uint64_t handle = next().as<OpenOut>().handle;
  ask(Opcode::kOpen, kNode, uint64_t{0});
  next();
  EXPECT_EQ(opened(), 2U);
  ask(Opcode::kRelease, kNode, ReleaseIn{handle + 1, 0, 0, 0});  // opened by a server before this one
  next();
  EXPECT_EQ(opened(), 2U);
  for (int i = 0; i < 2; ++i) {
    ask(Opcode::kRelease, kNode, ReleaseIn{handle, 0, 0, 0});
    next();
  }
  EXPECT_EQ(opened(), 0U);
}

TEST_F(FuseServer, ReadsWhatIsPresentAndTellsOnce) {
  store(0);
  store(1);
  start(0b011);
  ask_read(10, 5000);
  expect_content(next(), 10, 5000);
  const Event event = next(Event::Kind::kRead);
  EXPECT_EQ(event.first, 0U);
  EXPECT_EQ(event.last, 1U);
  ask_read(20, 100);
  expect_content(next(), 20, 100);
  EXPECT_EQ(server_->find(kNode)->bytes_read, 5100U);
  ask_read(bytes_.size(), 10);
  EXPECT_TRUE(next().body.empty());
  server_->stop();
  EXPECT_TRUE(events_.empty());
}

TEST_F(FuseServer, AsksOnceForWhatIsMissing) {
  store(0);
  start(0b001);
  const uint64_t first = ask_read(4000, 200);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 1U);
  ask_read(4096, 10);
  while (server_->find(kNode)->waiting != 2) std::this_thread::yield();
  EXPECT_TRUE(is_silent());
  store(1);
  server_->stored(kNode, 1);
  for (int i = 0; i < 2; ++i) {
    const Answer answer = next();
    const bool is_first = answer.header.unique == first;
    expect_content(answer, is_first ? 4000 : 4096, is_first ? 200 : 10);
  }
  EXPECT_EQ(server_->find(kNode)->waiting, 0U);
  server_->stop();
  for (const Event& event : events_) EXPECT_NE(event.kind, Event::Kind::kMissing);
}

TEST_F(FuseServer, DeliversWhatCanNotBeStored) {
  store(1);
  start(0b010);
  ask_read(0, 3 * kChunk);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 0U);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 2U);
  server_->delivered(kNode, 0, content(0, kChunk));
  server_->delivered(kNode, 2, content(2 * kChunk, kChunk));
  expect_content(next(), 0, bytes_.size());
  ask_read(0, 10);  // asked again
  EXPECT_EQ(next(Event::Kind::kMissing).first, 0U);
  server_->delivered(kNode, 0, content(0, 17));  // not all of it
  EXPECT_EQ(next().header.error, -EIO);
}

TEST_F(FuseServer, FailsTheReadersOfAChunkAlone) {
  start(0);
  const uint64_t bad = ask_read(0, 10);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 0U);
  ask_read(kChunk, 10);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 1U);
  server_->failed(kNode, 0, -EIO);
  Answer answer = next();
  EXPECT_EQ(answer.header.unique, bad);
  EXPECT_EQ(answer.header.error, -EIO);
  store(1);
  server_->stored(kNode, 1);
  expect_content(next(), kChunk, 10);
  ask_read(0, 10);
  EXPECT_EQ(next(Event::Kind::kMissing).first, 0U);
  store(0);
  server_->stored(kNode, 0);
  expect_content(next(), 0, 10);
}

// A process that is stopped: signals that it gets wait.
class StoppedProcess {
 public:
  StoppedProcess() : id_(fork()) {
    if (id_ == 0) {
      signal(SIGUSR1, [](int) {});
      raise(SIGSTOP);
      _exit(0);
    }
    int status;
    waitpid(id_, &status, WUNTRACED);
  }
  ~StoppedProcess() {
    kill(id_, SIGKILL);
    waitpid(id_, nullptr, 0);
  }
  uint32_t id() const { return static_cast<uint32_t>(id_); }
  void get(int signal) const { kill(id_, signal); }

 private:
  pid_t id_;
};

TEST_F(FuseServer, ForgetsWhatWasGivenUp) {
  const StoppedProcess reader;
  start(0);
  caller_ = reader.id();
  const uint64_t waiting = ask_read(0, 10);
  next(Event::Kind::kMissing);
  reader.get(SIGUSR1);
  ask(Opcode::kInterrupt, 0, InterruptIn{waiting});
  ask(Opcode::kGetattr, kNode, uint64_t{0});
  EXPECT_EQ(next().header.error, 0);
  EXPECT_TRUE(is_silent());  // it catches that one, and waits on
  reader.get(SIGTERM);       // of which the kernel tells nothing
  const Answer answer = next();
  EXPECT_EQ(answer.header.unique, waiting);
  EXPECT_EQ(answer.header.error, -EINTR);
  ask_read(kChunk, 10);
  next(Event::Kind::kMissing);
  server_->remove(kNode);
  EXPECT_EQ(next().header.error, -EIO);
  ask_read(0, 10);
  EXPECT_EQ(next().header.error, -EIO);
}

TEST_F(FuseServer, IsToldAgainOfSignalsToReadsThatItDoesNotKnowYet) {
  start(0);
  const uint64_t interrupt = ask(Opcode::kInterrupt, 0, InterruptIn{1000});
  const Answer answer = next();
  EXPECT_EQ(answer.header.unique, interrupt);
  EXPECT_EQ(answer.header.error, -EAGAIN);
}

TEST_F(FuseServer, LeavesWhatWaitsToTheNextServer) {
  start(0);
  ask_read(0, 10);
  next(Event::Kind::kMissing);
  server_->stop();
  EXPECT_TRUE(is_silent());
  start(0, /*take_over=*/true);
  const Answer notice = next();
  EXPECT_EQ(notice.header.unique, 0U);
  EXPECT_EQ(notice.header.error, kNotifyResend);
  ask_read(0, 10);  // as the kernel would
  EXPECT_EQ(next(Event::Kind::kMissing).first, 0U);
  store(0);
  server_->stored(kNode, 0);
  expect_content(next(), 0, 10);
}

TEST_F(FuseServer, NoticesTheEnd) {
  start(0);
  kernel_ = File();
  EXPECT_EQ(next(Event::Kind::kEnded).node, 0U);
}

}  // namespace
}  // namespace seekable::fuse
