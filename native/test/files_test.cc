// What takes several system calls on files.
#include "sys/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace seekable::sys {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/files-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }

  std::string at(const std::string& name) const { return root_ + "/" + name; }
  void make_file(const std::string& name, const std::string& content) const {
    std::ofstream(at(name)) << content;
  }
  static std::string content_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  std::string root_;
};

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST_F(Files, OpensAFolderNameByName) {
  const Result<int> missing = open_folder(root_, {"a", "b"}, false);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().error_number, ENOENT);
  EXPECT_EQ(missing.error().what, at("a"));
  const Result<int> made = open_folder(root_, {"a", "b"}, true);
  ASSERT_TRUE(made.ok());
  close(made.value());
  const Result<int> found = open_folder(root_, {"a", "b"}, false);
  ASSERT_TRUE(found.ok());
  struct stat ours, named;
  ASSERT_EQ(fstat(found.value(), &ours), 0);
  ASSERT_EQ(stat(at("a/b").c_str(), &named), 0);
  EXPECT_EQ(ours.st_ino, named.st_ino);
  close(found.value());
}

TEST_F(Files, FollowsNoLinkInsideOfARoot) {
  fs::create_directories(at("real/inner"));
  fs::create_symlink("real", at("link"));
  const Result<int> through = open_folder(root_, {"link", "inner"}, true);
  ASSERT_FALSE(through.ok());
  EXPECT_EQ(through.error().what, at("link"));
  EXPECT_TRUE(through.error().error_number == ENOTDIR || through.error().error_number == ELOOP);
  // The root is the caller's to choose.
  const Result<int> root = open_folder(at("link"), {"inner"}, false);
  ASSERT_TRUE(root.ok());
  close(root.value());
}

TEST_F(Files, OpensFilesToRead) {
  make_file("file", "12345");
  fs::create_symlink("file", at("link"));
  const Result<OpenedFile> file = open_to_read(at("link"), true);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file.value().is_file);
  EXPECT_EQ(file.value().size, 5);
  EXPECT_EQ(file.value().before, 5);
  close(file.value().descriptor);
  EXPECT_EQ(open_to_read(at("link"), false).error().error_number, ELOOP);
  EXPECT_EQ(open_to_read(at("none"), true).error().error_number, ENOENT);
  ASSERT_EQ(mkfifo(at("fifo").c_str(), 0600), 0);
  for (const std::string& path : {root_, at("fifo")}) {  // a FIFO is not waited for
    const Result<OpenedFile> other = open_to_read(path, true);
    ASSERT_TRUE(other.ok());
    EXPECT_FALSE(other.value().is_file);
    close(other.value().descriptor);
  }
}

TEST_F(Files, WritesNewFilesOnly) {
  ASSERT_TRUE(write_file(at("new"), bytes_of("content")).ok());
  EXPECT_EQ(content_of(at("new")), "content");
  const Status again = write_file(at("new"), bytes_of("other"));
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().error_number, EEXIST);
  EXPECT_EQ(content_of(at("new")), "content");
  EXPECT_EQ(write_file(at("none/new"), {}).error().error_number, ENOENT);
}

TEST_F(Files, SyncsFolders) {
  EXPECT_TRUE(sync_folder(root_).ok());
  EXPECT_TRUE(sync_folder("/proc/self").ok());  // which has no such thing
  EXPECT_EQ(sync_folder(at("none")).error().error_number, ENOENT);
}

TEST_F(Files, LocksAFileForOne) {
  const Result<int> first = lock_file(at("lock"), 0600);
  ASSERT_TRUE(first.ok());
  ASSERT_GE(first.value(), 0);
  EXPECT_EQ(lock_file(at("lock"), 0600).value(), -1);
  // Another file of that name is another lock, and its holder's.
  ASSERT_EQ(unlink(at("lock").c_str()), 0);
  const Result<int> second = lock_file(at("lock"), 0600);
  ASSERT_GE(second.value(), 0);
  EXPECT_TRUE(unlock_file(first.value(), at("lock")).ok());
  EXPECT_TRUE(fs::exists(at("lock")));
  EXPECT_EQ(lock_file(at("lock"), 0600).value(), -1);
  EXPECT_TRUE(unlock_file(second.value(), at("lock")).ok());
  EXPECT_FALSE(fs::exists(at("lock")));
  fs::create_symlink("elsewhere", at("lock"));
  EXPECT_EQ(lock_file(at("lock"), 0600).error().error_number, ELOOP);
}

}  // namespace
}  // namespace seekable::sys
