// The kernel as the judge: images are mounted, and everything in them is compared with the tree they were
// made of.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "erofs/image.h"
#include "test/erofs_trees.h"
#include "test/skip.h"

namespace seekable::erofs::test {
namespace {

// A directory of its own with `image` in it, mounted at `mount` in a mount namespace that ends with the
// process.
class Mounted {
 public:
  ~Mounted() {
    umount2(mount_point().c_str(), MNT_DETACH);
    rmdir(mount_point().c_str());
    unlink(image_path().c_str());
    rmdir(directory_.c_str());
  }

  std::string image_path() const { return directory_ + "/image"; }
  std::string mount_point() const { return directory_ + "/mount"; }

  // A reason why this machine cannot mount at all.
  std::optional<std::string> prepare() {
    if (geteuid() != 0) return "needs root";
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      return std::string("no private mount namespace: ") + strerror(errno);
    }
    const char* base = getenv("TMPDIR");
    directory_ = std::string(base != nullptr ? base : "/tmp") + "/erofs-kernel-test-XXXXXX";
    if (mkdtemp(directory_.data()) == nullptr || mkdir(mount_point().c_str(), 0700) != 0) {
      return std::string("no temporary directory: ") + strerror(errno);
    }
    return std::nullopt;
  }

  void write_image(const Image& image) const {
    const File file(open(image_path().c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600), image_path());
    std::vector<uint8_t> chunk(4 << 20);
    for (uint64_t offset = 0; offset < image.size(); offset += chunk.size()) {
      const MutableBytes piece(chunk.data(), std::min<uint64_t>(chunk.size(), image.size() - offset));
      ASSERT_TRUE(image.read_at(offset, piece).ok());
      ASSERT_TRUE(file.write_at(offset, piece).ok());
    }
  }

  // 0, or the errno of the last attempt: ENODEV without EROFS, ENOTBLK where neither files nor loops work.
  int mount_image() const {
    if (mount(image_path().c_str(), mount_point().c_str(), "erofs", MS_RDONLY, "") == 0) return 0;
    if (errno != ENOTBLK) return errno;
    if (access("/dev/loop-control", R_OK) != 0) return ENOTBLK;
    const std::string command = "mount -t erofs -o ro,loop " + image_path() + " " + mount_point();
    return std::system(command.c_str()) == 0 ? 0 : EINVAL;
  }

 private:
  std::string directory_;
};

class Comparison {
 public:
  explicit Comparison(const TreeBuilder& expected) : tree_(expected.tree), source_(expected.source) {}

  void compare_tree(const std::string& root) {
    std::vector<std::pair<std::string, InodeId>> pending{{root, Tree::kRoot}};
    while (!pending.empty()) {
      const auto [path, id] = pending.back();
      pending.pop_back();
      compare(path, id);
      const PlainInode& inode = tree_.inodes[id];
      if (!inode.directory) continue;
      for (const auto& [name, child] : inode.directory->entries)
        pending.emplace_back(path + "/" + name, child);
    }
  }

 private:
  void compare(const std::string& path, InodeId id) {
    const PlainInode& inode = tree_.inodes[id];
    struct stat info;
    ASSERT_EQ(lstat(path.c_str(), &info), 0) << path << ": " << strerror(errno);
    const auto [first, is_new] = inode_numbers_.emplace(id, info.st_ino);
    ASSERT_EQ(info.st_ino, first->second) << path;
    if (!is_new) return;
    EXPECT_EQ(info.st_mode, inode.mode) << path;
    EXPECT_EQ(info.st_uid, inode.uid) << path;
    EXPECT_EQ(info.st_gid, inode.gid) << path;
    EXPECT_EQ(info.st_nlink, inode.nlink) << path;
    EXPECT_EQ(info.st_mtim.tv_sec, inode.mtime) << path;
    EXPECT_EQ(static_cast<uint32_t>(info.st_mtim.tv_nsec), inode.mtime_nsec) << path;
    if (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode)) {
      EXPECT_EQ(info.st_rdev, makedev(inode.rdev_major, inode.rdev_minor)) << path;
    }
    compare_xattrs(path, inode);
    if (S_ISREG(info.st_mode)) compare_content(path, inode, static_cast<uint64_t>(info.st_size));
    if (S_ISLNK(info.st_mode)) compare_target(path, inode);
    if (inode.directory) compare_names(path, *inode.directory);
  }

  void compare_xattrs(const std::string& path, const PlainInode& inode) {
    std::vector<char> list(65536);
    const ssize_t length = llistxattr(path.c_str(), list.data(), list.size());
    ASSERT_GE(length, 0) << path << ": " << strerror(errno);
    Xattrs found;
    for (const char* name = list.data(); name < list.data() + length; name += strlen(name) + 1) {
      std::string value(65536, '\0');
      const ssize_t size = lgetxattr(path.c_str(), name, value.data(), value.size());
      ASSERT_GE(size, 0) << path << " " << name << ": " << strerror(errno);
      value.resize(static_cast<size_t>(size));
      found[name] = value;
    }
    EXPECT_EQ(found, inode.xattrs ? *inode.xattrs : Xattrs()) << path;
  }

  // All of a small file; of a huge one, the surroundings of every extent and of both ends.
  void compare_content(const std::string& path, const PlainInode& inode, uint64_t size) {
    ASSERT_EQ(size, inode.size) << path;
    const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC), path);
    ASSERT_GE(file.descriptor(), 0) << path << ": " << strerror(errno);
    constexpr uint64_t kPiece = 2 << 20;
    std::set<uint64_t> starts{0, size > kPiece ? size - kPiece : 0};
    if (size > kPiece) {
      for (const Extent& extent : inode.extents) {
        starts.insert(extent.file_offset < 5000 ? 0 : extent.file_offset - 5000);
      }
    }
    for (const uint64_t start : starts) {
      std::vector<uint8_t> found(std::min(kPiece, size - start));
      const Status status = file.read_at(start, found);
      ASSERT_TRUE(status.ok()) << path << ": " << status.error().why;
      EXPECT_TRUE(as_text(found) == file_content(inode, source_, start, found.size()))
          << path << " at " << start;
    }
  }

  void compare_target(const std::string& path, const PlainInode& inode) {
    std::string target(8192, '\0');
    const ssize_t length = readlink(path.c_str(), target.data(), target.size());
    ASSERT_GE(length, 0) << path << ": " << strerror(errno);
    EXPECT_EQ(target.substr(0, static_cast<size_t>(length)), inode.target) << path;
  }

  void compare_names(const std::string& path, const PlainDirectory& directory) {
    std::vector<std::string> expected{".", ".."};
    for (const auto& [name, id] : directory.entries) expected.push_back(name);
    std::sort(expected.begin(), expected.end());
    std::vector<std::string> found;
    DIR* stream = opendir(path.c_str());
    ASSERT_NE(stream, nullptr) << path;
    while (const dirent* entry = readdir(stream)) found.push_back(entry->d_name);
    closedir(stream);
    EXPECT_EQ(found, expected) << path;
  }

  const PlainTree& tree_;
  const std::vector<uint8_t>& source_;
  std::map<InodeId, ino_t> inode_numbers_;
};

class Kernel : public testing::TestWithParam<uint32_t> {};

void expect_shown(const PlanOptions& options, int wide) {
  Mounted mounted;
  if (const auto reason = mounted.prepare()) SKIP_BECAUSE(*reason);
  const TreeBuilder expected = make_everything(wide);
  const TreeBuilder built = make_everything(wide);
  const MemorySource data(built.source);
  Job job;
  auto image = plan_image(to_tree(built.tree), data, options, job);
  ASSERT_TRUE(image.ok()) << image.error().what << ": " << image.error().why;
  image.value()->set_uuid(as_bytes("0123456789abcdef"));
  mounted.write_image(*image.value());

  const int error = mounted.mount_image();
  if (error == ENODEV || error == ENOTBLK || error == EPERM) {
    SKIP_BECAUSE(std::string("mount: ") + strerror(error));
  }
  ASSERT_EQ(error, 0) << strerror(error);
  Comparison(expected).compare_tree(mounted.mount_point());
}

TEST_P(Kernel, ShowsTheTreeThatTheImageWasMadeOf) {
  expect_shown({.block_size = GetParam()}, GetParam() == 4096 ? 100000 : 2000);
}

TEST_P(Kernel, ShowsTheTreeOfAnImageWithAHotPart) {
  expect_shown({.block_size = GetParam(),
                .hot = {{"files/mebibyte", {{0, 5000}, {500000, 100000}}},
                        {"sparse/middle", {}},
                        {"files/size-4196", {}}},
                .hot_border = 1 << 20},
               2000);
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, Kernel, testing::Values(512, 1024, 2048, 4096));

}  // namespace
}  // namespace seekable::erofs::test
