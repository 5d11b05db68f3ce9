#include <gtest/gtest.h>

#include "erofs/device_map.h"
#include "erofs/image.h"
#include "test/erofs_reader.h"
#include "test/erofs_trees.h"

namespace seekable::erofs::test {
namespace {

constexpr uint32_t kBlock = 512;
const std::string kTag(64, 'a');

ChunkMap map_of(const std::vector<Extent>& extents, uint64_t size) {
  auto map = plan_device_chunks(extents, size, kBlock);
  EXPECT_TRUE(map.ok());
  return map.ok() && map.value() ? *map.value() : ChunkMap{};
}

void expect_refused(const std::vector<Extent>& extents, uint64_t size, const std::string& part_of_why) {
  const auto map = plan_device_chunks(extents, size, kBlock);
  ASSERT_FALSE(map.ok());
  EXPECT_EQ(map.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(map.error().why.find(part_of_why), std::string::npos) << map.error().why;
}

TEST(ErofsDevice, NamesAFileInOnePieceByOneChunk) {
  const ChunkMap map = map_of({{0, 1024, 700'000}}, 700'000);
  EXPECT_EQ(map.chunks, 1U);
  EXPECT_EQ(map.blocks, 0U);  // none of the image's own
  EXPECT_EQ(map.block_bits, 11U);
  ASSERT_EQ(map.runs.size(), 1U);
  EXPECT_EQ(map.runs[0].block, 2U);
  EXPECT_EQ(map_of({{0, 512, 1}}, 1).block_bits, 0U);
  EXPECT_EQ(map_of({{0, 512, uint64_t{5} << 30}}, uint64_t{5} << 30).chunks, 5U);
  EXPECT_FALSE(plan_device_chunks({}, 0, kBlock).value());  // an empty file has no chunks
}

TEST(ErofsDevice, KeepsHolesInTheLargestChunksThatCanSayThem) {
  const ChunkMap map = map_of({{8192, 1536, 4096}, {16384, 5632, 100}}, 16484);
  EXPECT_EQ(map.block_bits, 3U);
  EXPECT_EQ(map.chunks, 5U);
  ASSERT_EQ(map.runs.size(), 2U);
  EXPECT_EQ(map.runs[0].chunk, 2U);
  EXPECT_EQ(map.runs[0].block, 3U);
  EXPECT_EQ(map.runs[1].chunk, 4U);
  EXPECT_EQ(map_of({}, 3 << 20).chunks, 1U);
  EXPECT_TRUE(map_of({}, 3 << 20).runs.empty());
}

TEST(ErofsDevice, JoinsPiecesThatLieTogether) {
  EXPECT_EQ(map_of({{0, 512, 100}, {100, 612, 900}}, 1000).chunks, 1U);
}

TEST(ErofsDevice, RefusesWhatBlocksCanNotSay) {
  expect_refused({{100, 512, 50}}, 1000, "whole blocks");                   // a hole of half a block
  expect_refused({{0, 512, 100}}, 1000, "whole blocks");                    // data that ends in a block
  expect_refused({{0, 512, 512}, {512, 1100, 512}}, 1024, "whole blocks");  // data that begins in one
  const uint64_t large = uint64_t{1} << 40;
  expect_refused({{512, 512, 512}}, large, "64 MiB");
  EXPECT_FALSE(check_data_device({kTag, 1000}, kBlock).ok());
  EXPECT_FALSE(check_data_device({kTag, uint64_t{kBlock} << 32}, kBlock).ok());
  EXPECT_TRUE(check_data_device({kTag, (uint64_t{kBlock} << 32) - kBlock}, kBlock).ok());
}

// A tree whose files lie in a source as in a tar, each from a block on.
struct OnDevice {
  OnDevice() {
    first = add("first", 1300);
    builder.xattr(first, "user.a", "four");  // so that the table has to be aligned
    builder.file(Tree::kRoot, "empty", 0);
    builder.symlink(Tree::kRoot, "link", std::string(700, 'l'));
    const InodeId many = builder.directory(Tree::kRoot, "many");
    for (int i = 0; i < 200; ++i) add("file-" + std::to_string(i), static_cast<uint64_t>(i), many);
    builder.source.resize((builder.source.size() / kBlock + 3) * kBlock);
  }
  InodeId add(const std::string& name, uint64_t size, InodeId parent = Tree::kRoot) {
    builder.source.resize((builder.source.size() / kBlock + 1) * kBlock);
    const InodeId id = builder.add(parent, name, S_IFREG | 0644);
    builder[id].size = size;
    if (size > 0) builder[id].extents.push_back({0, builder.source.size(), size});
    for (uint64_t i = 0; i < size; ++i) builder.source.push_back(static_cast<uint8_t>(i * 7 + size));
    return id;
  }
  std::vector<uint8_t> image() {
    Job job;
    const MemorySource data(builder.source);
    auto planned = plan_image(to_tree(builder.tree), data,
                              {.block_size = kBlock, .device = DataDevice{kTag, data.size()}}, job);
    if (!planned.ok()) {
      ADD_FAILURE() << planned.error().what << ": " << planned.error().why;
      return {};
    }
    has_device = planned.value()->summary().has_device;
    EXPECT_EQ(planned.value()->summary().metadata_size, planned.value()->size());
    std::vector<uint8_t> bytes(planned.value()->size(), 0xEE);
    EXPECT_TRUE(planned.value()->read_at(0, bytes).ok());
    std::vector<uint8_t> again;  // the same in pieces
    for (uint64_t at = 0; at < bytes.size(); at += 97) {
      std::vector<uint8_t> piece(std::min<uint64_t>(97, bytes.size() - at));
      EXPECT_TRUE(planned.value()->read_at(at, piece).ok());
      again.insert(again.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(again, bytes);
    return bytes;
  }

  TreeBuilder builder;
  InodeId first;
  bool has_device = false;
};

TEST(ErofsDevice, WritesMetadataAloneThatPointsAtTheDevice) {
  OnDevice tree;
  const std::vector<uint8_t> image = tree.image();
  ASSERT_TRUE(tree.has_device);
  const Reader reader(image);
  EXPECT_EQ(reader.superblock.feature_incompat, kIncompatChunkedFile | kIncompatDeviceTable);
  EXPECT_EQ(reader.superblock.extra_devices, 1);
  EXPECT_EQ(uint64_t{reader.superblock.blocks} * kBlock, image.size());
  DeviceSlot slot;
  std::memcpy(&slot, &image.at(reader.superblock.device_slot_offset * sizeof slot), sizeof slot);
  EXPECT_EQ(std::string(slot.tag, slot.tag + sizeof slot.tag), kTag);
  EXPECT_EQ(uint64_t{slot.blocks} * kBlock, tree.builder.source.size());

  size_t files = 0;
  const auto compare = [&](const std::vector<Reader::Entry>& entries) {
    for (const Reader::Entry& entry : entries) {
      const Reader::Node node = reader.node(entry.nid);
      if (!S_ISREG(node.inode.mode) || node.size == 0) continue;
      ASSERT_EQ(node.layout, Layout::kChunked) << entry.name;
      EXPECT_TRUE((node.body & kChunkIndexes) != 0) << entry.name;
      const uint64_t table = (node.body_offset + 7) / 8 * 8;
      ChunkIndex index;
      std::memcpy(&index, &image.at(table), sizeof index);
      EXPECT_EQ(index.device, 1) << entry.name;
      for (uint64_t i = 0; i < node.size; ++i) {
        ASSERT_EQ(tree.builder.source.at(uint64_t{index.block} * kBlock + i),
                  static_cast<uint8_t>(i * 7 + node.size))
            << entry.name;
      }
      ++files;
    }
  };
  const auto root = reader.entries(reader.node(reader.superblock.root_nid));
  compare(root);
  for (const Reader::Entry& entry : root) {
    if (entry.name == "many") compare(reader.entries(reader.node(entry.nid)));
    if (entry.name == "link") {
      EXPECT_EQ(reader.data(reader.node(entry.nid)), std::string(700, 'l'));
    }
  }
  EXPECT_EQ(files, 200U);  // all but the empty ones
}

TEST(ErofsDevice, LeavesOutADeviceThatNoFileNeeds) {
  OnDevice tree;
  tree.builder = TreeBuilder();
  tree.builder.file(Tree::kRoot, "empty", 0);
  tree.builder.sparse_file(Tree::kRoot, "hole", 5000, {});
  tree.builder.source.resize(7);  // no number of blocks
  const std::vector<uint8_t> image = tree.image();
  EXPECT_FALSE(tree.has_device);
  EXPECT_EQ(Reader(image).superblock.extra_devices, 0);
}

}  // namespace
}  // namespace seekable::erofs::test
