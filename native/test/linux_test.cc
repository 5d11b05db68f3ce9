// The bare system calls: that they arrive, and that errors have the call's name, its number, and the kernel's
// words.
#include "sys/linux.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>

#include "base/bytes.h"
#include "base/io.h"
#include "test/skip.h"

namespace seekable::sys {
namespace {

TEST(LinuxTest, IoctlFillsMemory) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "abc", 3), 3);
  uint8_t count[sizeof(int)] = {};
  const Result<int> result = ioctl(ends[0], FIONREAD, MutableBytes(count));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(load_le<int>(count), 3);
  close(ends[0]);
  close(ends[1]);
}

TEST(LinuxTest, ErrorsNameTheCallAndHaveItsNumber) {
  const Result<int> result = ioctl(-1, FIONREAD, uint64_t{0});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().what, "ioctl");
  EXPECT_EQ(result.error().error_number, EBADF);
  EXPECT_EQ(move_mount(-1, "/").error().what, "move_mount");
  EXPECT_EQ(fsmount(-1, 0).error().what, "fsmount");
  EXPECT_EQ(fsconfig(-1, {.command = 6, .key = nullptr, .value = nullptr}).error().what, "fsconfig");
}

TEST(LinuxTest, LinksAnOpenFileOnceUnderAName) {
  const std::string folder = testing::TempDir();
  const int descriptor = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor < 0)
    SKIP_BECAUSE(std::string(folder) + " has no files without a name: " + std::strerror(errno));
  const std::string path = folder + "/linux-test-" + std::to_string(getpid());
  EXPECT_TRUE(link_open_file(descriptor, path).ok());
  const Status again = link_open_file(descriptor, path);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().error_number, EEXIST);
  EXPECT_EQ(unlink(path.c_str()), 0);
  close(descriptor);
}

TEST(LinuxTest, OpensAndRenamesNoLinkAndNothingElsewhere) {
  std::string path = "/tmp/linux-test-XXXXXX";
  const File folder(open(mkdtemp(path.data()), O_RDONLY | O_DIRECTORY), path);
  const int root = folder.descriptor();
  ASSERT_TRUE(make_folder(root, "d", 0700).ok());
  ASSERT_EQ(symlinkat("d", root, "link"), 0);
  EXPECT_EQ(open_entry(root, "link", O_RDONLY | O_DIRECTORY).error().error_number, ELOOP);
  EXPECT_EQ(open_entry(root, "none", O_RDONLY).error().error_number, ENOENT);
  for (const char* name : {"", "d/..", "/", "../x"}) {
    EXPECT_EQ(open_entry(root, name, O_RDONLY).error().error_number, EINVAL) << name;
    EXPECT_FALSE(make_folder(root, name, 0700).ok()) << name;
    EXPECT_FALSE(remove_folder(root, name).ok()) << name;
    EXPECT_FALSE(rename_entry(root, "d", name).ok()) << name;
  }
  ASSERT_TRUE(make_folder(root, "e", 0700).ok());
  EXPECT_EQ(rename_entry(root, "e", "d").error().error_number, EEXIST);
  EXPECT_TRUE(rename_entry(root, "e", "f").ok());
  const Result<int> opened = open_entry(root, "f", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(opened.ok());
  close(opened.value());
  for (const char* name : {"d", "f"}) EXPECT_TRUE(remove_folder(root, name).ok());
  unlinkat(root, "link", 0);
  rmdir(path.c_str());
}

TEST(LinuxTest, UnmountsNothingThatIsNoMount) {
  const Status status = unmount("/proc/self/no-such-folder", 0);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().what, "umount");
  EXPECT_NE(status.error().error_number, 0);
}

TEST(TakeDescriptor, IsTheSameOpenFile) {
  FILE* file = tmpfile();
  ASSERT_NE(file, nullptr);
  const Result<int> taken = take_descriptor(getpid(), fileno(file));
  if (!taken.ok()) SKIP_BECAUSE(taken.error().why);
  ASSERT_EQ(write(fileno(file), "abc", 3), 3);
  EXPECT_EQ(lseek(taken.value(), 0, SEEK_CUR), 3);
  close(taken.value());
  EXPECT_EQ(take_descriptor(getpid(), 1 << 20).error().error_number, EBADF);
  fclose(file);
}

TEST(SendDatagram, ArrivesByPathAndByAbstractName) {
  std::string folder = "/tmp/linux-test-XXXXXX";
  const std::string path = std::string(mkdtemp(folder.data())) + "/socket";
  for (const std::string& name : {path, "@" + path}) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path, name.size());
    if (name.front() == '@') address.sun_path[0] = '\0';
    const File receiver(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0), "receiver");
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(bind(receiver.descriptor(), reinterpret_cast<const sockaddr*>(&address), size), 0) << name;
    EXPECT_TRUE(send_datagram(name, "READY=1").ok()) << name;
    char text[16] = {};
    EXPECT_EQ(read(receiver.descriptor(), text, sizeof text), 7) << name;
    EXPECT_STREQ(text, "READY=1");
  }
  unlink(path.c_str());
  EXPECT_EQ(send_datagram(path, "x").error().error_number, ENOENT);
  EXPECT_FALSE(send_datagram(std::string(200, 'x'), "x").ok());
  EXPECT_FALSE(send_datagram("", "x").ok());
  rmdir(folder.c_str());
}

TEST(LinuxTest, TheKernelsWordsAreInTheError) {
  if (geteuid() != 0) SKIP_BECAUSE("needs root");
  const Result<int> context = fsopen("tmpfs");
  if (!context.ok()) SKIP_BECAUSE("fsopen: " + context.error().why);
  const Status status = fsconfig(context.value(), {.command = 1, .key = "no-such-option", .value = "x"});
  close(context.value());
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().error_number, EINVAL);
  EXPECT_NE(status.error().why.find("no-such-option"), std::string::npos) << status.error().why;
}

}  // namespace
}  // namespace seekable::sys
