// sys::FolderStack: every handle is on the folder that was asked for, whatever was asked for before.
#include "sys/folder_stack.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

namespace seekable::sys {
namespace {

namespace fs = std::filesystem;

class FolderStackTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/folder-stack-XXXXXX";
    root_ = mkdtemp(name.data());
    for (const char* folder : {"a/b/c", "ab/b", "abc", "b"}) fs::create_directories(root_ / folder);
  }
  void TearDown() override { fs::remove_all(root_); }

  ino_t inode(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(stat((root_ / path).c_str(), &info), 0) << path;
    return info.st_ino;
  }

  fs::path root_;
};

TEST_F(FolderStackTest, GoesFromEveryFolderToEveryOther) {
  const std::vector<std::string> paths = {"", "a", "a/b", "a/b/c", "ab", "ab/b", "abc", "b"};
  const File root(open(root_.c_str(), O_PATH | O_DIRECTORY), "root");
  FolderStack stack(root);
  for (const std::string& from : paths) {
    for (const std::string& to : paths) {
      ASSERT_TRUE(stack.enter(from).ok());
      const auto handle = stack.enter(to);
      ASSERT_TRUE(handle.ok()) << "from '" << from << "' to '" << to << "'";
      struct stat info {};
      ASSERT_EQ(fstat(handle.value(), &info), 0);
      EXPECT_EQ(info.st_ino, inode(to)) << "from '" << from << "' to '" << to << "'";
    }
  }
}

}  // namespace
}  // namespace seekable::sys
