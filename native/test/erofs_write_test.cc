#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "erofs/crc32c.h"
#include "erofs/image.h"
#include "test/erofs_reader.h"
#include "test/erofs_trees.h"

namespace seekable::erofs::test {
namespace {

constexpr const char* kUuid = "0123456789abcdef";
constexpr int kWide = 3000;

// An image together with the bytes that it reads from.
struct Built {
  explicit Built(TreeBuilder builder, uint32_t block_size = 4096)
      : Built(std::move(builder), PlanOptions{.block_size = block_size}) {}
  Built(TreeBuilder builder, const PlanOptions& options) : source(std::move(builder.source)), data(source) {
    Job job;
    auto planned = plan_image(to_tree(builder.tree), data, options, job);
    if (!planned.ok()) ADD_FAILURE() << planned.error().what << ": " << planned.error().why;
    image = std::move(planned.value());
  }

  std::vector<uint8_t> read(uint64_t offset, uint64_t length) const {
    std::vector<uint8_t> bytes(length, 0xEE);  // so that bytes that nobody writes differ from zeros
    const Status status = image->read_at(offset, bytes);
    EXPECT_TRUE(status.ok()) << status.error().what << ": " << status.error().why;
    return bytes;
  }
  std::vector<uint8_t> read_all() const { return read(0, image->size()); }

  std::vector<uint8_t> source;
  MemorySource data;
  std::unique_ptr<Image> image;
};

class ErofsWrite : public testing::TestWithParam<uint32_t> {};
INSTANTIATE_TEST_SUITE_P(BlockSizes, ErofsWrite, testing::Values(512, 1024, 2048, 4096));

void compare_node(const Reader& reader, const Reader::Node& found, const PlainInode& expected,
                  const std::vector<uint8_t>& source, const std::string& path) {
  EXPECT_EQ(found.inode.mode, expected.mode) << path;
  EXPECT_EQ(found.inode.uid, expected.uid) << path;
  EXPECT_EQ(found.inode.gid, expected.gid) << path;
  EXPECT_EQ(found.inode.nlink, expected.nlink) << path;
  EXPECT_EQ(found.inode.mtime, expected.mtime) << path;
  EXPECT_EQ(found.inode.mtime_nsec, expected.mtime_nsec) << path;
  EXPECT_EQ(found.inode.rdev_major, expected.rdev_major) << path;
  EXPECT_EQ(found.inode.rdev_minor, expected.rdev_minor) << path;
  ASSERT_EQ(found.inode.xattrs.has_value(), expected.xattrs.has_value()) << path;
  if (expected.xattrs) {
    EXPECT_EQ(*found.inode.xattrs, *expected.xattrs) << path;
  }
  if (expected.directory) return;
  EXPECT_EQ(found.size, expected.size) << path;
  if (S_ISLNK(expected.mode)) {
    EXPECT_EQ(reader.data(found), expected.target) << path;
  }
  if (S_ISREG(expected.mode) && found.size < 1 << 28) {
    EXPECT_TRUE(reader.data(found) == file_content(expected, source, 0, found.size)) << path;
  }
}

const std::map<uint16_t, FileType> kTypes = {
    {S_IFREG, FileType::kRegular},     {S_IFDIR, FileType::kDirectory}, {S_IFCHR, FileType::kCharacterDevice},
    {S_IFBLK, FileType::kBlockDevice}, {S_IFIFO, FileType::kFifo},      {S_IFSOCK, FileType::kSocket},
    {S_IFLNK, FileType::kSymlink},
};

void expect_tree(const Built& built, const TreeBuilder& expected) {
  const std::vector<uint8_t> bytes = built.read_all();
  const Reader reader(bytes);
  const PlainTree& tree = expected.tree;
  std::map<InodeId, uint64_t> nids{{Tree::kRoot, reader.superblock.root_nid}};
  std::vector<std::pair<std::string, InodeId>> pending{{"", Tree::kRoot}};
  std::map<uint32_t, InodeId> serials;
  while (!pending.empty()) {
    const auto [path, id] = pending.back();
    pending.pop_back();
    const Reader::Node node = reader.node(nids[id]);
    compare_node(reader, node, tree.inodes[id], expected.source, path);
    EXPECT_TRUE(serials.emplace(node.ino, id).second) << path;
    if (!tree.inodes[id].directory) continue;
    const PlainDirectory& directory = *tree.inodes[id].directory;
    std::map<std::string, InodeId> names(directory.entries.begin(), directory.entries.end());
    names["."] = id;
    names[".."] = directory.parent;
    const auto entries = reader.entries(node);
    ASSERT_EQ(entries.size(), names.size()) << path;
    auto name = names.begin();
    for (const Reader::Entry& entry : entries) {
      ASSERT_EQ(entry.name, name->first) << path;
      const auto [known, is_new] = nids.emplace(name->second, entry.nid);
      ASSERT_EQ(known->second, entry.nid) << path << "/" << entry.name;
      if (is_new) pending.emplace_back(path + "/" + entry.name, name->second);
      EXPECT_EQ(entry.type, kTypes.at(tree.inodes[name->second].mode & S_IFMT)) << path << "/" << entry.name;
      ++name;
    }
  }
  EXPECT_EQ(serials.size(), built.image->summary().inodes);
  EXPECT_EQ(serials.rbegin()->first, serials.size());
  EXPECT_EQ(reader.superblock.inodes, serials.size());
}

TEST_P(ErofsWrite, ReadsBackAsTheTreeItWasMadeOf) {
  expect_tree(Built(make_everything(kWide), GetParam()), make_everything(kWide));
}

// Of everything: files in part, whole files, files with holes, tails, hard links, and what is no file.
PlanOptions hot_options(uint32_t block_size) {
  return {.block_size = block_size,
          .hot = {{"files/mebibyte", {{0, 5000}, {500000, 100000}, {(1 << 20) + 90, 10}}},
                  {"sparse/middle", {{200000, 10}}},
                  {"files/size-4196", {}},
                  {"files/touching", {{0, 1}}},
                  {"sparse/all-hole", {}},
                  {"files/size-0", {}},
                  {"files", {}},
                  {"nowhere/file", {}}},
          .hot_border = 256 << 10};
}

TEST_P(ErofsWrite, ReadsBackWithAHotPart) {
  const Built built(make_everything(kWide), hot_options(GetParam()));
  expect_tree(built, make_everything(kWide));
  const ImageSummary& summary = built.image->summary();
  EXPECT_EQ(summary.hot_found, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(summary.hot_end % (256 << 10), 0U);
  EXPECT_GT(summary.hot_end, summary.metadata_size);
}

TEST_P(ErofsWrite, IsTheSameInAnyPieces) {
  const Built built(make_everything(kWide), hot_options(GetParam()));
  built.image->set_uuid(as_bytes(kUuid));
  const std::vector<uint8_t> whole = built.read_all();
  std::mt19937 random(GetParam());
  for (const uint64_t largest : {7ULL, 100ULL, 5000ULL, 300000ULL}) {
    const uint64_t start = largest < 1000 ? random() % (whole.size() - 300000) : 0;
    const uint64_t end = largest < 1000 ? start + 300000 : whole.size();
    for (uint64_t offset = start; offset < end;) {
      const uint64_t length = std::min(1 + random() % largest, whole.size() - offset);
      const std::vector<uint8_t> piece = built.read(offset, length);
      ASSERT_TRUE(std::equal(piece.begin(), piece.end(), whole.begin() + static_cast<ptrdiff_t>(offset)))
          << offset << "+" << length;
      offset += length;
    }
  }
  for (uint64_t offset = 0; offset < 6000; ++offset) {  // every byte around superblock and first inodes
    ASSERT_EQ(built.read(offset, 1)[0], whole[offset]) << offset;
  }
}

TEST_P(ErofsWrite, HasAChecksumOnceItHasAUuid) {
  const Built built(make_everything(100), GetParam());
  const std::vector<uint8_t> before = built.read_all();
  EXPECT_TRUE(std::all_of(&before[1024 + 48], &before[1024 + 64], [](uint8_t byte) { return byte == 0; }));
  EXPECT_EQ(Reader(before).superblock.checksum, 0U);

  built.image->set_uuid(as_bytes(kUuid));
  std::vector<uint8_t> after = built.read_all();
  EXPECT_EQ(as_text({&after[1024 + 48], 16}), kUuid);
  const Superblock superblock = Reader(after).superblock;
  const size_t length = GetParam() > 1024 ? GetParam() - 1024 : GetParam();
  std::memset(&after[1024 + 4], 0, 4);
  EXPECT_EQ(superblock.checksum, crc32c({&after[1024], length}));
  std::memset(&after[1024 + 48], 0, 16);
  EXPECT_TRUE(before == after);  // nothing else changes
}

TEST_P(ErofsWrite, DescribesItselfInTheSuperblock) {
  const Built built(make_everything(100), GetParam());
  const Superblock superblock = Reader(built.read(0, 4096)).superblock;
  EXPECT_EQ(superblock.magic, 0xE0F5E1E2U);
  EXPECT_EQ(1U << superblock.block_bits, GetParam());
  EXPECT_EQ(superblock.feature_compat, 3U);
  EXPECT_EQ(superblock.feature_incompat, 4U);
  EXPECT_EQ(superblock.epoch, 1700000000);
  EXPECT_EQ(superblock.build_time, 0U);
  EXPECT_EQ(uint64_t{superblock.blocks} * GetParam(), built.image->size());
  const ImageSummary& summary = built.image->summary();
  EXPECT_EQ(summary.block_size, GetParam());
  EXPECT_EQ(summary.metadata_size % GetParam(), 0U);
  EXPECT_LT(summary.metadata_size, built.image->size());
}

TEST(ErofsWrite4K, LeavesOutTheChunkFeatureWithoutSparseFiles) {
  TreeBuilder b;
  b.file(0, "file", 10000);
  const Built built(std::move(b));
  EXPECT_EQ(Reader(built.read_all()).superblock.feature_incompat, 0U);
}

TEST(ErofsWrite4K, StoresSparseFilesWithoutTheirHoles) {
  TreeBuilder b;
  b.sparse_file(0, "5g", 5ULL << 30, {{0, 10}, {(3ULL << 30) + 12345, 70000}});
  const Built built(std::move(b));
  EXPECT_LT(built.image->size(), 2U << 20);
}

TEST(ErofsWrite4K, ServesManyThreads) {
  const Built built(make_everything(kWide));
  built.image->set_uuid(as_bytes(kUuid));
  const std::vector<uint8_t> whole = built.read_all();
  std::vector<uint8_t> parts(whole.size());
  std::vector<std::thread> threads;
  const size_t share = whole.size() / 8 + 1;
  for (size_t offset = 0; offset < whole.size(); offset += share) {
    const MutableBytes part(parts.data() + offset, std::min(share, whole.size() - offset));
    threads.emplace_back([&built, offset, part] { EXPECT_TRUE(built.image->read_at(offset, part).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(parts == whole);
}

TEST(ErofsWrite4K, ReadsNothingBeyondItsEnd) {
  const Built built{TreeBuilder()};
  EXPECT_EQ(built.image->size(), 4096U);
  std::vector<uint8_t> bytes(2);
  EXPECT_TRUE(built.image->read_at(4094, bytes).ok());
  EXPECT_FALSE(built.image->read_at(4095, bytes).ok());
  EXPECT_FALSE(built.image->read_at(UINT64_MAX, bytes).ok());
}

TEST(ErofsWrite4K, ReportsASourceThatIsTooShort) {
  for (const uint64_t size : {100, 5000}) {  // behind the inode, and in blocks
    TreeBuilder b;
    const InodeId file = b.file(0, "file", size);
    b[file].extents[0].source_offset = b.source.size();
    const Built built(std::move(b));
    std::vector<uint8_t> bytes(built.image->size());
    const Status status = built.image->read_at(0, bytes);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  }
}

TEST(ErofsWrite4K, RefusesOtherBlockSizes) {
  for (const uint32_t block_size : {0U, 256U, 1000U, 8192U}) {
    const MemorySource data({});
    Job job;
    const auto image = plan_image(to_tree(TreeBuilder().tree), data, {.block_size = block_size}, job);
    ASSERT_FALSE(image.ok()) << block_size;
    EXPECT_EQ(image.error().code, ErrorCode::kUsage);
  }
}

}  // namespace
}  // namespace seekable::erofs::test
