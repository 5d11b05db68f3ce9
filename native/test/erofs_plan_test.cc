#include <gtest/gtest.h>

#include "erofs/chunk_map.h"
#include "erofs/plan.h"
#include "test/erofs_trees.h"

namespace seekable::erofs::test {
namespace {

Result<Plan> plan_of(const PlainTree& tree, uint32_t block_size = 4096) {
  Job job;
  return make_plan(to_tree(tree), {.block_size = block_size}, job);
}

const PlannedInode& planned(const Plan& plan, InodeId id) { return plan.inodes[plan.index_of[id]]; }

void expect_unsupported(const TreeBuilder& b, const std::string& what, const std::string& part_of_why) {
  const auto plan = plan_of(b.tree);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(plan.error().what, what);
  EXPECT_NE(plan.error().why.find(part_of_why), std::string::npos) << plan.error().why;
}

TEST(ErofsPlan, PutsALoneRootBehindTheSuperblock) {
  const TreeBuilder b;
  const Plan plan = std::move(plan_of(b.tree).value());
  EXPECT_EQ(planned(plan, Tree::kRoot).nid(), 36U);
  EXPECT_EQ(plan.size_of(planned(plan, Tree::kRoot)), 27U);  // "." and ".."
  EXPECT_EQ(planned(plan, Tree::kRoot).layout, Layout::kInline);
  EXPECT_EQ(plan.total_blocks, 1U);
  EXPECT_EQ(plan.metadata_blocks, 1U);
}

TEST(ErofsPlan, NumbersSiblingsByNameThenEachSubdirectory) {
  TreeBuilder b;
  const InodeId z = b.directory(0, "z");
  const InodeId z_file = b.file(z, "file", 1);
  const InodeId m = b.file(0, "m", 1);
  const InodeId a = b.directory(0, "a");
  const InodeId a_sub = b.directory(a, "sub");
  const InodeId a_sub_file = b.file(a_sub, "file", 1);
  const InodeId a_tail = b.file(a, "tail", 1);
  b.hard_link(a_sub, "again", m);
  const InodeId unnamed = static_cast<InodeId>(b.tree.inodes.size());
  b.tree.inodes.emplace_back().mode = S_IFREG;
  const Plan plan = std::move(plan_of(b.tree).value());
  std::vector<InodeId> order;
  for (const PlannedInode& inode : plan.inodes) order.push_back(inode.id);
  EXPECT_EQ(order, (std::vector<InodeId>{0, a, m, z, a_sub, a_tail, a_sub_file, z_file}));
  EXPECT_EQ(plan.index_of[unnamed], Plan::kNotWritten);
}

TEST(ErofsPlan, KeepsInodesCompactOnlyWhereNothingIsLost) {
  TreeBuilder b;
  b.tree.epoch = 77;
  const auto file = [&](const std::string& name) {
    const InodeId id = b.file(0, name, 1);
    b[id].mtime = 77;
    return id;
  };
  const InodeId compact = file("compact");
  b[compact].uid = b[compact].gid = b[compact].nlink = 65535;
  const InodeId uid = file("uid"), gid = file("gid"), nlink = file("nlink"), time = file("time");
  const InodeId nsec = file("nsec"), size = file("size");
  b[uid].uid = 65536;
  b[gid].gid = 65536;
  b[nlink].nlink = 65536;
  b[time].mtime = 78;
  b[nsec].mtime_nsec = 1;
  b[size].size = 1ULL << 32;
  const Plan plan = std::move(plan_of(b.tree).value());
  EXPECT_FALSE(planned(plan, compact).extended);
  for (const InodeId id : {uid, gid, nlink, time, nsec, size}) EXPECT_TRUE(planned(plan, id).extended) << id;
}

TEST(ErofsPlan, InlinesFileTailsUpTo512Bytes) {
  TreeBuilder b;
  const InodeId empty = b.file(0, "empty", 0);
  const InodeId small = b.file(0, "small", 512), large = b.file(0, "large", 513);
  const InodeId tail = b.file(0, "tail", 8192 + 512), whole = b.file(0, "whole", 8192);
  const Plan plan = std::move(plan_of(b.tree).value());
  EXPECT_EQ(planned(plan, empty).layout, Layout::kPlain);
  EXPECT_EQ(planned(plan, empty).first_block, kNoBlock);
  EXPECT_EQ(planned(plan, small).layout, Layout::kInline);
  EXPECT_EQ(planned(plan, small).first_block, kNoBlock);
  EXPECT_EQ(planned(plan, large).layout, Layout::kPlain);
  EXPECT_EQ(planned(plan, tail).layout, Layout::kInline);
  EXPECT_EQ(plan.blocks_of(planned(plan, tail)), 2U);
  EXPECT_EQ(plan.body_size(planned(plan, tail)), 512U);
  EXPECT_EQ(planned(plan, whole).layout, Layout::kPlain);
  EXPECT_EQ(plan.blocks_of(planned(plan, whole)), 2U);
}

TEST(ErofsPlan, GivesBlocksToASymlinkThatFitsNoBlockWithItsInode) {
  TreeBuilder b;
  const InodeId fits = b.symlink(0, "fits", std::string(4096 - 64, 'x'));
  const InodeId exceeds = b.symlink(0, "exceeds", std::string(4096 - 63, 'x'));
  b.xattr(Tree::kRoot, "user.filler", std::string(2710, 'x'));  // so that the gap before `fits` is small
  b[fits].mtime = b[exceeds].mtime = 1;
  const Plan plan = std::move(plan_of(b.tree).value());
  EXPECT_EQ(planned(plan, exceeds).layout, Layout::kPlain);
  EXPECT_LT(planned(plan, exceeds).first_block, plan.metadata_blocks);
  EXPECT_EQ(planned(plan, fits).layout, Layout::kInline);
  EXPECT_EQ(planned(plan, fits).offset % 4096, 0U);
}

// A directory of these names, all of inode 1; it is inode 5 in directory 9.
struct Listed {
  explicit Listed(const std::vector<std::string>& texts) {
    tree.directories.push_back({.parent = 9});
    for (const std::string& text : texts) tree.names.push_back({tree.texts.add(text), 0, 1});
    tree.sort_names();
    content = {5, 9, tree.names_in(tree.directories[0])};
  }
  Tree tree;
  DirectoryContent content;
};

TEST(ErofsPlan, FillsDirectoryBlocksGreedily) {
  // "." and ".." take 27 bytes; names of 20 bytes take 32: (4096 - 27) / 32 = 127 fit, with 5 bytes left.
  std::vector<std::string> names;
  for (int i = 0; i < 127; ++i) names.push_back(std::string(17, 'n') + std::to_string(100 + i));
  std::vector<DirectoryBlock> blocks;
  EXPECT_EQ(plan_directory(Listed(names).content, 4096, blocks).value(), 27U + 127 * 32);
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(blocks[0].count, 129);
  names.push_back("~");  // 13 bytes
  blocks.clear();
  EXPECT_EQ(plan_directory(Listed(names).content, 4096, blocks).value(), 4096U + 13);
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[1].first.name(Listed(names).content), "~");
  // A block may be full to its last byte.
  names.pop_back();
  names[0] = std::string(25, 'z');  // 37 bytes in place of 32
  blocks.clear();
  EXPECT_EQ(plan_directory(Listed(names).content, 4096, blocks).value(), 4096U);
  EXPECT_EQ(blocks.size(), 1U);
}

TEST(ErofsPlan, SortsDotsAmongTheNames) {
  const Listed listed({"+", ".-", ".a", "b", "\xFF"});
  const DirectoryContent& directory = listed.content;
  std::vector<std::string> names;
  for (DirectoryCursor cursor; !cursor.at_end(directory); cursor.advance(directory)) {
    names.emplace_back(cursor.name(directory));
    if (names.back() == ".") {
      EXPECT_EQ(cursor.target(directory), 5U);
    }
    if (names.back() == "..") {
      EXPECT_EQ(cursor.target(directory), 9U);
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"+", ".", ".-", "..", ".a", "b", "\xFF"}));
}

// What every plan must obey, whatever the tree.
void check_rules(const PlainTree& tree, const Plan& plan) {
  const uint64_t block_size = plan.block_size;
  uint64_t end = kSuperblockEnd + plan.shared_xattrs.area().size();
  for (const PlannedInode& inode : plan.inodes) {
    const uint16_t type = tree.inodes[inode.id].mode & S_IFMT;
    ASSERT_EQ(inode.offset % kSlotSize, 0U);
    ASSERT_GE(inode.offset, end);
    end = plan.body_offset(inode) + plan.body_size(inode);
    if (inode.layout != Layout::kInline) continue;
    ASSERT_GT(plan.body_size(inode), 0U);
    ASSERT_LE(plan.body_offset(inode) % block_size + plan.body_size(inode), block_size);
    if (type == S_IFLNK) {
      ASSERT_EQ(inode.offset / block_size, (end - 1) / block_size);
    }
  }
  ASSERT_EQ(plan.inodes_end, end);
  ASSERT_LE(planned(plan, Tree::kRoot).nid(), 0xFFFFU);
  std::vector<uint32_t> owners;
  for (uint32_t index = 0; index < plan.inodes.size(); ++index) {
    if (plan.inodes[index].first_block != kNoBlock) owners.push_back(index);
  }
  std::ranges::sort(owners, {}, [&](uint32_t index) { return plan.inodes[index].first_block; });
  uint64_t block = (end + block_size - 1) / block_size;
  std::vector<uint32_t> metadata_owners;
  for (const uint32_t index : owners) {
    const PlannedInode& inode = plan.inodes[index];
    ASSERT_EQ(inode.first_block, block);
    ASSERT_GT(plan.blocks_of(inode), 0U);
    const bool is_file = (tree.inodes[inode.id].mode & S_IFMT) == S_IFREG;
    ASSERT_EQ(is_file, block >= plan.metadata_blocks);
    if (!is_file) metadata_owners.push_back(index);
    block += plan.blocks_of(inode);
  }
  ASSERT_EQ(plan.block_owners, metadata_owners);
  ASSERT_EQ(plan.total_blocks, block);
}

TEST(ErofsPlan, ObeysItsRulesForEveryBlockSize) {
  const TreeBuilder b = make_everything(3000);
  for (const uint32_t block_size : {512U, 1024U, 2048U, 4096U}) {
    const auto plan = plan_of(b.tree, block_size);
    ASSERT_TRUE(plan.ok()) << plan.error().what << ": " << plan.error().why;
    check_rules(b.tree, plan.value());
  }
}

TEST(ErofsPlan, ObeysItsRulesForRandomTrees) {
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    TreeBuilder b;
    std::vector<InodeId> directories{Tree::kRoot};
    for (int i = 0; i < 400; ++i) {
      const InodeId parent = directories[random() % directories.size()];
      const std::string name = std::to_string(i) + std::string(random() % 200, 'n');
      InodeId id = 0;
      switch (random() % 4) {
        case 0: directories.push_back(id = b.directory(parent, name)); break;
        case 1: id = b.symlink(parent, name, std::string(1 + random() % 4095, 't')); break;
        case 2: id = b.sparse_file(parent, name, 20000, {{random() % 9000, 1 + random() % 9000}}); break;
        default: id = b.file(parent, name, random() % 2000); break;
      }
      b[id].mtime = random() % 2;
      if (random() % 3 == 0) b.xattr(id, "user.x", std::string(random() % 900, 'v'));
    }
    const auto plan = plan_of(b.tree, 512U << seed % 4);
    ASSERT_TRUE(plan.ok());
    check_rules(b.tree, plan.value());
  }
}

TEST(ErofsPlan, SharesWhatManyInodesHaveInCommon) {
  TreeBuilder b;
  const std::string label = "system_u:object_r:container_file_t:s0";
  const InodeId one = b.file(0, "1", 1), two = b.file(0, "2", 1), other = b.file(0, "3", 1);
  b.xattr(one, "security.selinux", label);
  b.xattr(two, "security.selinux", label);
  b.xattr(other, "security.selinux", label + "!");
  const Plan plan = std::move(plan_of(b.tree).value());
  EXPECT_EQ(plan.shared_xattrs.area().size(), 4 + 7 + label.size());
  EXPECT_EQ(plan.shared_xattrs.id_of("security.selinux", label), kSuperblockEnd / 4);
  EXPECT_FALSE(plan.shared_xattrs.id_of("security.selinux", label + "!").has_value());
  EXPECT_EQ(plan.xattr_size_of(planned(plan, one)), 16U);
  EXPECT_EQ(plan.xattr_size_of(planned(plan, two)), 16U);
  EXPECT_EQ(plan.xattr_size_of(planned(plan, other)), 12 + 4 + 7 + label.size() + 1 + 3);
}

TEST(ErofsPlan, KnowsWhichAttributesHaveAForm) {
  for (const char* name :
       {"user.a", "trusted.a", "security.a", "system.posix_acl_access", "system.posix_acl_default"}) {
    EXPECT_TRUE(has_xattr_form(name)) << name;
  }
  for (const char* name :
       {"", "user.", "trusted.", "security.", "system.nfs4_acl", "system.posix_acl_access2", "btrfs.x"}) {
    EXPECT_FALSE(has_xattr_form(name)) << name;
  }
}

TEST(ErofsPlan, RefusesWhatAnInodeCannotHold) {
  const auto with_xattr = [](const std::string& name, const std::string& value) {
    TreeBuilder b;
    b.xattr(b.file(b.directory(0, "dir"), "file", 1), name, value);
    return b;
  };
  EXPECT_TRUE(plan_of(with_xattr("user." + std::string(255, 'n'), std::string(65535, 'v')).tree).ok());
  expect_unsupported(with_xattr("user.v", std::string(65536, 'v')), "/dir/file", "user.v has 65536 bytes");
  expect_unsupported(with_xattr("user." + std::string(256, 'n'), ""), "/dir/file",
                     "has 256 bytes after its prefix");
  expect_unsupported(with_xattr("system.odd", ""), "/dir/file", "namespace");
  TreeBuilder many;
  for (int i = 0; i < 4; ++i) many.xattr(Tree::kRoot, "user." + std::to_string(i), std::string(65530, 'v'));
  EXPECT_FALSE(plan_of(many.tree).ok());  // 12 + 4 * 65536
  expect_unsupported(many, "/", "262156 bytes");
  (*many[Tree::kRoot].xattrs)["user.3"].resize(65522);
  EXPECT_TRUE(plan_of(many.tree).ok());  // 262148 exactly
}

TEST(ErofsPlan, RefusesLongNamesLargeDevicesAndLargeFiles) {
  TreeBuilder name;
  const InodeId directory = name.directory(name.directory(0, "a"), "b");
  name.file(directory, std::string(255, 'n'), 1);
  EXPECT_TRUE(plan_of(name.tree).ok());
  name.file(directory, std::string(256, 'n'), 1);
  expect_unsupported(name, "/a/b/" + std::string(256, 'n'), "256 bytes");

  TreeBuilder device;
  device.device(0, "d", S_IFCHR | 0600, 4096, 0);
  expect_unsupported(device, "/d", "4096:0");
  TreeBuilder minor;
  minor.device(0, "d", S_IFBLK | 0600, 0, 1048576);
  expect_unsupported(minor, "/d", "0:1048576");

  TreeBuilder large;
  const InodeId file = large.file(0, "large", 1);
  const uint64_t most = (0xFFFFFFFFULL - 1) * 4096;  // one block holds the metadata
  large[file].size = large[file].extents[0].length = most;
  const auto plan = plan_of(large.tree);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan.value().total_blocks, 0xFFFFFFFFU);
  large[file].size = large[file].extents[0].length = most + 1024;
  expect_unsupported(large, "/large", "exceed the 4294967295 blocks");
  large[file].size = (1ULL << 63) - 1;  // too sparse for a table of 1 MiB, and so as if it were dense
  expect_unsupported(large, "/large", "exceed the 4294967295 blocks");
}

TEST(ErofsPlan, StopsWhenItsJobIsCancelled) {
  const TreeBuilder b;
  Job job;
  job.cancel();
  const auto plan = make_plan(to_tree(b.tree), {}, job);
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kCancelled);
}

std::optional<ChunkMap> chunks_of(const std::vector<Extent>& extents, uint64_t size, uint32_t block_size) {
  return plan_chunks(extents, size, block_size);
}

std::vector<std::tuple<uint32_t, uint32_t, uint32_t>> runs_of(const ChunkMap& map) {
  std::vector<std::tuple<uint32_t, uint32_t, uint32_t>> runs;
  for (const ChunkRun& run : map.runs) runs.emplace_back(run.chunk, run.count, run.block);
  return runs;
}

TEST(ErofsChunkMap, IsForHolesOfWholeBlocksOnly) {
  EXPECT_FALSE(chunks_of({{0, 0, 100}, {100, 5000, 9900}}, 10000, 4096).has_value());
  EXPECT_FALSE(chunks_of({{5, 0, 1}, {4097, 0, 1}, {8193, 0, 1}}, 10000, 4096).has_value());
  EXPECT_FALSE(chunks_of({}, 0, 4096).has_value());
  EXPECT_TRUE(chunks_of({{5, 0, 1}, {8193, 0, 1}}, 10000, 4096).has_value());
}

TEST(ErofsChunkMap, CountsTheLastChunkByItsOwnBlocks) {
  // Blocks 0-3 absent, 4-6 stored: chunks of four blocks, the second one of three.
  const auto map = chunks_of({{4 * 4096, 0, 2 * 4096 + 1}}, 6 * 4096 + 1, 4096);
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->block_bits, 2U);
  EXPECT_EQ(map->chunks, 2U);
  EXPECT_EQ(map->blocks, 3U);
  EXPECT_EQ(runs_of(*map), (std::vector<std::tuple<uint32_t, uint32_t, uint32_t>>{{1, 1, 0}}));
}

TEST(ErofsChunkMap, MergesExtentsThatShareOrTouchChunks) {
  const auto map = chunks_of({{100, 0, 10}, {4000, 0, 1}, {4096, 0, 10}, {40960, 0, 8192}}, 1 << 20, 4096);
  ASSERT_TRUE(map.has_value());
  EXPECT_EQ(map->block_bits, 1U);  // one table entry for two blocks, and no more data
  EXPECT_EQ(runs_of(*map), (std::vector<std::tuple<uint32_t, uint32_t, uint32_t>>{{0, 1, 0}, {5, 1, 2}}));
  EXPECT_EQ(map->blocks, 4U);
}

TEST(ErofsChunkMap, KeepsTheTableOfHugeFilesSmall) {
  const auto hole = chunks_of({}, 5ULL << 30, 4096);
  ASSERT_TRUE(hole.has_value());
  EXPECT_EQ(hole->chunks, 5U);
  EXPECT_EQ(hole->blocks, 0U);
  for (const uint64_t size : {1ULL << 32, 1ULL << 40, 1ULL << 50, 1ULL << 61}) {
    const auto map = chunks_of({{size / 2, 0, 1}}, size, 4096);
    ASSERT_TRUE(map.has_value()) << size;
    EXPECT_LE(map->chunks * kChunkEntrySize, 1U << 20) << size;
  }
}

TEST(ErofsChunkMap, MatchesACountOfTouchedChunks) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const uint64_t size = 1 + random() % 200000;
    std::vector<Extent> extents;
    for (uint64_t at = random() % 20000; at < size; at += random() % 20000) {
      const uint64_t length = std::min<uint64_t>(1 + random() % 9000, size - at);
      extents.push_back({at, 0, length});
      at += length;
    }
    const auto map = chunks_of(extents, size, 512);
    if (!map) continue;
    const uint64_t chunk_size = 512ULL << map->block_bits;
    std::vector<bool> stored(map->chunks);
    for (const Extent& e : extents) {
      for (uint64_t i = e.file_offset; i < e.file_offset + e.length; ++i) stored[i / chunk_size] = true;
    }
    uint64_t block = 0;
    auto run = map->runs.begin();
    for (uint64_t chunk = 0; chunk < map->chunks; ++chunk) {
      while (run != map->runs.end() && run->chunk + run->count <= chunk) ++run;
      const bool has_run = run != map->runs.end() && run->chunk <= chunk;
      ASSERT_EQ(has_run, stored[chunk]);
      if (!stored[chunk]) continue;
      ASSERT_EQ(run->block + ((chunk - run->chunk) << map->block_bits), block);
      block += std::min<uint64_t>(chunk_size, (size - chunk * chunk_size + 511) / 512 * 512) / 512;
    }
    ASSERT_EQ(map->blocks, block);
  }
}

}  // namespace
}  // namespace seekable::erofs::test
