#include <gtest/gtest.h>

#include "erofs/hot.h"
#include "erofs/plan.h"
#include "test/erofs_trees.h"

namespace seekable::erofs::test {
namespace {

constexpr uint64_t kMiB = 1 << 20;

Plan plan_of(const TreeBuilder& b, std::vector<HotFile> hot, uint64_t border = 4096) {
  Job job;
  return std::move(make_plan(to_tree(b.tree), {.hot = std::move(hot), .hot_border = border}, job).value());
}

const PlannedInode& planned(const Plan& plan, InodeId id) { return plan.inodes[plan.index_of[id]]; }

TEST(ErofsHot, PutsFilesBehindTheMetadataInTheirOrder) {
  TreeBuilder b;
  const InodeId a = b.file(0, "a", 8192), bin = b.directory(0, "bin"), c = b.file(bin, "c", 4096);
  const InodeId d = b.file(bin, "d", 4096);
  const Plan plan = plan_of(b, {{"bin/d", {}}, {"bin/missing", {}}, {"a", {}}, {"bin", {}}}, 65536);
  EXPECT_EQ(planned(plan, d).first_block, plan.metadata_blocks);
  EXPECT_EQ(planned(plan, a).first_block, plan.metadata_blocks + 1);
  EXPECT_EQ(plan.hot_end_block, 16U);
  EXPECT_EQ(planned(plan, c).first_block, 16U);
  EXPECT_EQ(plan.total_blocks, 17U);
  EXPECT_EQ(plan.hot_found, (std::vector<uint32_t>{0, 2}));
}

TEST(ErofsHot, IsAsWithoutAListWhereNothingOfItIsThere) {
  TreeBuilder b;
  b.file(0, "a", 8192);
  const Plan plan = plan_of(b, {{"b", {}}, {"a/b", {}}}, kMiB);
  EXPECT_EQ(plan.hot_end_block, 0U);
  EXPECT_EQ(plan.total_blocks, plan.metadata_blocks + 2);
}

TEST(ErofsHot, PlacesAnInodeOnceWhateverItIsCalled) {
  TreeBuilder b;
  const InodeId a = b.file(0, "a", 8192);
  b.hard_link(0, "b", a);
  const Plan plan = plan_of(b, {{"b", {}}, {"a", {}}, {"b", {}}});
  EXPECT_EQ(planned(plan, a).first_block, plan.metadata_blocks);
  EXPECT_EQ(plan.total_blocks, plan.metadata_blocks + 2);
}

TEST(ErofsHot, PartsALargeFileOfWhichLittleIsRead) {
  TreeBuilder b;
  const InodeId large = b.file(0, "large", 4 * kMiB), small = b.file(0, "small", 4096);
  const Plan plan = plan_of(b, {{"large", {{kMiB, 1}, {3 * kMiB, 20000}}}, {"small", {}}});
  const PlannedInode& inode = planned(plan, large);
  EXPECT_EQ(inode.layout, Layout::kChunked);
  EXPECT_EQ(inode.first_block, plan.metadata_blocks);
  EXPECT_EQ(planned(plan, small).first_block,
            plan.metadata_blocks + 4 + 8);  // parts of 16 KiB: one, then two
  EXPECT_EQ(plan.hot_end_block, plan.metadata_blocks + 13);
  EXPECT_EQ(plan.total_blocks, plan.metadata_blocks + 1024 + 1);
}

TEST(ErofsHot, KeepsAFileWholeThatIsSmallOrMostlyRead) {
  EXPECT_FALSE(plan_parts(std::vector<HotRange>{{0, 1}}, 100000, 4096).has_value());
  EXPECT_FALSE(plan_parts(std::vector<HotRange>{{0, kMiB * 4 / 5}}, kMiB, 4096).has_value());
  EXPECT_FALSE(plan_parts({}, kMiB, 4096).has_value());
  EXPECT_TRUE(plan_parts(std::vector<HotRange>{{0, kMiB / 2}}, kMiB, 4096).has_value());
}

TEST(ErofsHot, IgnoresRangesBehindTheEnd) {
  const uint64_t most = UINT64_MAX;
  EXPECT_FALSE(plan_parts(std::vector<HotRange>{{kMiB, 1}, {most, most}}, kMiB, 4096).has_value());
  const auto map = plan_parts(std::vector<HotRange>{{kMiB - 1, most}, {0, 0}}, kMiB, 4096);
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->runs.size(), 2U);
  EXPECT_TRUE(map->runs[1].is_hot);
  EXPECT_EQ(map->runs[1].count, 1U);
}

TEST(ErofsHot, KeepsTheTableSmall) {
  const auto map = plan_parts(std::vector<HotRange>{{0, 1}}, 1ULL << 40, 4096);
  ASSERT_TRUE(map.has_value());
  EXPECT_LE(map->chunks * kChunkEntrySize, 64U << 10);
}

}  // namespace
}  // namespace seekable::erofs::test
