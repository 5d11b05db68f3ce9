// sys::TreeWriter: what it makes, and that nothing leads it out of its folder.
#include "sys/tree_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

namespace seekable::sys {
namespace {

namespace fs = std::filesystem;
using Kind = TreeEntry::Kind;

class TreeWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/tree-writer-XXXXXX";
    base_ = mkdtemp(name.data());
    root_ = base_ / "root";
    fs::create_directory(root_);
    fs::create_directory(base_ / "outside");
  }
  void TearDown() override { fs::remove_all(base_); }

  TreeWriter writer(bool replace = false) {
    return TreeWriter(File(open(root_.c_str(), O_RDONLY | O_DIRECTORY), "DIR"),
                      {.replace = replace, .owners = false});
  }
  static TreeEntry entry(Kind kind, std::string path, std::string target = {}) {
    TreeEntry made;
    made.kind = kind;
    made.path = std::move(path);
    made.target = std::move(target);
    made.mode = 0640;
    made.seconds = -2;
    made.nanoseconds = 500'000'000;
    return made;
  }
  static TreeEntry file(std::string path, std::string_view content) {
    TreeEntry made = entry(Kind::kFile, std::move(path));
    made.size = content.size();
    made.pieces.push_back({.offset = 0, .bytes = as_bytes(content)});
    return made;
  }
  Status write(TreeWriter& writer, std::vector<TreeEntry> entries) {
    return writer.write(entries, job_, notices_);
  }
  std::string content(const std::string& path) {
    std::ifstream stream(root_ / path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  struct stat status(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(lstat((root_ / path).c_str(), &info), 0) << path;
    return info;
  }
  bool outside_is_empty() { return fs::is_empty(base_ / "outside"); }

  fs::path base_;
  fs::path root_;
  Job job_;
  std::vector<TreeNotice> notices_;
};

TEST_F(TreeWriterTest, MakesEveryKindWithItsAttributes) {
  TreeWriter writer = this->writer();
  TreeEntry tagged = file("d/f", "hello");
  tagged.xattrs.push_back({"user.k", std::string("a\0b", 3)});
  tagged.mode = 04711;
  ASSERT_TRUE(write(writer, {entry(Kind::kFolder, "d"), tagged, entry(Kind::kSymlink, "d/s", "../f"),
                             entry(Kind::kHardLink, "h", "d/f"), entry(Kind::kFifo, "p"),
                             entry(Kind::kSocket, "d/sock")})
                  .ok());
  TreeEntry folder = entry(Kind::kFolder, "d");
  folder.mode = 0500;
  ASSERT_TRUE(writer.finish_folders({folder}, job_, notices_).ok());
  EXPECT_EQ(content("d/f"), "hello");
  EXPECT_EQ(status("d/f").st_mode, S_IFREG | 04711u);
  EXPECT_EQ(status("d/f").st_nlink, 2u);
  EXPECT_EQ(status("h").st_ino, status("d/f").st_ino);
  EXPECT_EQ(fs::read_symlink(root_ / "d/s"), "../f");
  EXPECT_EQ(status("p").st_mode, S_IFIFO | 0640u);
  EXPECT_EQ(status("d/sock").st_mode, S_IFSOCK | 0640u);
  EXPECT_EQ(status("d").st_mode, S_IFDIR | 0500u);
  for (const char* path : {"d", "d/f", "d/s", "p", "d/sock"}) {
    EXPECT_EQ(status(path).st_mtim.tv_sec, -2) << path;
    EXPECT_EQ(status(path).st_mtim.tv_nsec, 500'000'000) << path;
  }
  char value[8];
  const ssize_t length = getxattr((root_ / "d/f").c_str(), "user.k", value, sizeof(value));
  if (notices_.empty()) {
    EXPECT_EQ(std::string(value, static_cast<size_t>(length)), std::string("a\0b", 3));
  } else {
    EXPECT_EQ(notices_[0].subject, "user.k");  // a file system without xattrs
  }
}

TEST_F(TreeWriterTest, TakesPiecesOfAFileOneAfterTheOther) {
  TreeWriter writer = this->writer();
  const std::vector<uint8_t> bytes(600'000, 'x');
  TreeEntry begin = entry(Kind::kFile, "f");
  begin.size = 3'000'000;
  begin.ends = false;
  begin.pieces.push_back({.offset = 10, .bytes = as_bytes("first")});
  TreeEntry end = begin;
  end.begins = false;
  end.ends = true;
  end.pieces = {{.offset = 1'000'000,
                 .source = std::make_shared<MemorySource>(bytes),
                 .address = 1,
                 .length = 599'999}};
  ASSERT_TRUE(write(writer, {begin}).ok());
  ASSERT_TRUE(write(writer, {end}).ok());
  const std::string read = content("f");
  ASSERT_EQ(read.size(), 3'000'000u);
  EXPECT_EQ(read.substr(8, 8), std::string("\0\0first\0", 8));
  EXPECT_EQ(read.find('x'), 1'000'000u);
  EXPECT_EQ(read.find_last_of('x'), 1'599'998u);
  EXPECT_LT(status("f").st_blocks * 512, 1'500'000);  // the rest is a hole
}

TEST_F(TreeWriterTest, NeverFollowsALink) {
  TreeWriter writer = this->writer(true);
  const std::string outside = (base_ / "outside").string();
  ASSERT_TRUE(
      write(writer, {entry(Kind::kSymlink, "l", outside), entry(Kind::kSymlink, "f", outside + "/new")})
          .ok());
  EXPECT_FALSE(write(writer, {file("l/file", "x")}).ok());
  EXPECT_FALSE(write(writer, {entry(Kind::kFolder, "l/d")}).ok());
  EXPECT_FALSE(write(writer, {entry(Kind::kHardLink, "h", "l/x")}).ok());
  EXPECT_FALSE(writer.finish_folders({entry(Kind::kFolder, "l")}, job_, notices_).ok());
  // What is itself in the way goes, instead of what it points to.
  EXPECT_TRUE(write(writer, {file("f", "x")}).ok());
  EXPECT_TRUE(S_ISREG(status("f").st_mode));
  EXPECT_TRUE(write(writer, {entry(Kind::kFolder, "l")}).ok());
  EXPECT_TRUE(S_ISDIR(status("l").st_mode));
  EXPECT_TRUE(outside_is_empty());
}

TEST_F(TreeWriterTest, RefusesPathsThatAreNone) {
  TreeWriter writer = this->writer();
  ASSERT_TRUE(write(writer, {entry(Kind::kFolder, "d"), file("f", "")}).ok());
  for (const std::string& path :
       std::vector<std::string>{"", ".", "..", "../outside/x", "/x", "d/", "d//x", "d/../x", "d/..",
                                std::string("a\0b", 3), "f/x", "none/x"}) {
    EXPECT_FALSE(write(writer, {file(path, "x")}).ok()) << path;
    EXPECT_FALSE(write(writer, {entry(Kind::kHardLink, "h", path)}).ok()) << path;
  }
  EXPECT_TRUE(outside_is_empty());
}

TEST_F(TreeWriterTest, KeepsWhatIsThereUnlessToldToReplace) {
  TreeWriter careful = this->writer();
  ASSERT_TRUE(write(careful, {file("f", "old"), entry(Kind::kFolder, "d"), file("d/x", "kept")}).ok());
  const Status again = write(careful, {file("f", "new")});
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().what, "DIR/f");
  EXPECT_EQ(content("f"), "old");
  TreeWriter writer = this->writer(true);
  EXPECT_TRUE(write(writer, {file("f", "new"), entry(Kind::kFolder, "d")}).ok());
  EXPECT_EQ(content("f"), "new");
  EXPECT_EQ(content("d/x"), "kept");
  EXPECT_FALSE(write(writer, {file("d", "a folder stays")}).ok());
  EXPECT_EQ(content("d/x"), "kept");
}

TEST_F(TreeWriterTest, AbandonsAHalfWrittenFile) {
  TreeWriter writer = this->writer();
  TreeEntry half = file("f", "half");
  half.ends = false;
  ASSERT_TRUE(write(writer, {file("whole", "x"), half}).ok());
  writer.abandon();
  EXPECT_FALSE(fs::exists(root_ / "f"));
  EXPECT_TRUE(fs::exists(root_ / "whole"));
  TreeEntry rest = half;
  rest.begins = false;
  EXPECT_FALSE(write(writer, {rest}).ok());
}

TEST_F(TreeWriterTest, RemovesWhatItMadeAndNothingElse) {
  TreeWriter writer = this->writer();
  TreeEntry half = file("d/half", "half");
  half.ends = false;
  std::vector<TreeEntry> entries = {entry(Kind::kFolder, "d"),    entry(Kind::kFolder, "d/e"),
                                    entry(Kind::kFolder, "g"),    file("d/e/f", "x"),
                                    entry(Kind::kSymlink, "s"),   entry(Kind::kFifo, "g/p"),
                                    entry(Kind::kFolder, "gone"), half};
  entries[4].target = "d";
  for (int i = 0; i < 3000; ++i) entries.push_back(file("g/" + std::to_string(i), ""));
  ASSERT_TRUE(write(writer, entries).ok());
  TreeEntry closed = entries[2];
  closed.mode = 0;
  ASSERT_TRUE(writer.finish_folders({closed}, job_, notices_).ok());
  // What others did meanwhile.
  std::ofstream(root_ / "d/theirs") << "kept";
  fs::rename(root_ / "d/e", base_ / "outside/e");
  fs::create_directory(root_ / "d/e");
  std::ofstream(root_ / "d/e/f") << "kept";
  fs::remove(root_ / "gone");
  ASSERT_TRUE(writer.remove_made().ok());
  EXPECT_EQ(content("d/theirs"), "kept");
  EXPECT_EQ(content("d/e/f"), "kept");
  std::vector<std::string> left;
  for (const auto& found : fs::recursive_directory_iterator(root_)) left.push_back(found.path().filename());
  std::sort(left.begin(), left.end());
  EXPECT_EQ(left, (std::vector<std::string>{"d", "e", "f", "theirs"}));
  EXPECT_TRUE(fs::exists(base_ / "outside/e/f"));
}

TEST_F(TreeWriterTest, FinishesOnlyFoldersThatItMadeOrFound) {
  TreeWriter writer = this->writer(true);
  fs::create_directory(root_ / "found");
  fs::create_directory(root_ / "theirs");
  const TreeEntry made = entry(Kind::kFolder, "made");
  const TreeEntry found = entry(Kind::kFolder, "found");
  ASSERT_TRUE(write(writer, {made, found}).ok());
  ASSERT_TRUE(writer.finish_folders({made, found}, job_, notices_).ok());
  fs::rename(root_ / "made", root_ / "aside");
  fs::rename(root_ / "theirs", root_ / "made");
  const mode_t mode = status("made").st_mode;
  EXPECT_FALSE(writer.finish_folders({made}, job_, notices_).ok());
  EXPECT_EQ(status("made").st_mode, mode);
}

TEST_F(TreeWriterTest, WritesSeveralParcelsAtOnce) {
  TreeWriter writer = this->writer();
  std::vector<TreeEntry> folders;
  for (const char* path : {"a", "a/b", "c", "c/d", "c/d/e"}) folders.push_back(entry(Kind::kFolder, path));
  ASSERT_TRUE(write(writer, folders).ok());
  const std::vector<uint8_t> bytes(1'000'000, 'x');
  const auto source = std::make_shared<MemorySource>(bytes);
  std::vector<std::thread> threads;
  std::atomic<int> written = 0;
  for (int number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      std::vector<TreeEntry> files;
      for (uint64_t i = 0; i < 100; ++i) {
        const std::string path = folders[i % folders.size()].path + "/" + std::to_string(number * 100 + i);
        TreeEntry made = entry(Kind::kFile, path);
        made.size = i == 50 ? 700'000 : 5000;
        made.pieces.push_back(
            {.offset = 0, .source = source, .address = 7000 * i, .length = i == 50 ? 600'000 : made.size});
        files.push_back(made);
      }
      std::vector<TreeNotice> notices;
      if (writer.write(files, job_, notices).ok()) ++written;
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(written, 4);
  for (int number = 0; number < 400; ++number) {
    const std::string path = folders[number % folders.size()].path + "/" + std::to_string(number);
    const bool is_long = number % 100 == 50;
    const std::string expected =
        std::string(is_long ? 600'000 : 5000, 'x') + std::string(is_long ? 100'000 : 0, '\0');
    ASSERT_EQ(content(path), expected) << path;
  }
}

TEST_F(TreeWriterTest, GoesDeeperThanItKeepsFoldersOpen) {
  TreeWriter writer = this->writer();
  std::vector<TreeEntry> entries;
  std::string path;
  for (int depth = 0; depth < 300; ++depth) {
    path += path.empty() ? "d" : "/d";
    entries.push_back(entry(Kind::kFolder, path));
  }
  // Up again, and into folders whose handles were let go.
  for (size_t i = entries.size(); i > 0; i -= 50) entries.push_back(file(entries[i - 1].path + "/f", "x"));
  ASSERT_TRUE(write(writer, entries).ok());
  std::vector<TreeEntry> folders(entries.begin(), entries.begin() + 300);
  std::reverse(folders.begin(), folders.end());
  ASSERT_TRUE(writer.finish_folders(folders, job_, notices_).ok());
  EXPECT_EQ(content(folders.front().path + "/f"), "x");
  EXPECT_EQ(status(folders.back().path).st_mtim.tv_sec, -2);
}

TEST_F(TreeWriterTest, StopsWhenCancelled) {
  TreeWriter writer = this->writer();
  job_.cancel();
  EXPECT_EQ(write(writer, {file("f", "x")}).error().code, ErrorCode::kCancelled);
  EXPECT_FALSE(fs::exists(root_ / "f"));
}

}  // namespace
}  // namespace seekable::sys
