// The plan of an image: every inode number, size and block, before a byte is written. A pure function of the
// tree.
//
//   superblock | device table | shared xattrs | inodes, xattrs, inline bodies | directory blocks | hot file
//   data | file data
//
// Inodes stand in the order of a listing: the root, its children by name, then each subdirectory's children
// in turn. Blocks stand in the same order, so that all metadata is one prefix of the image. Structures:
// docs/format/erofs.md.
#pragma once

#include <vector>

#include "base/error.h"
#include "base/job.h"
#include "erofs/chunk_map.h"
#include "erofs/data_map.h"
#include "erofs/directory.h"
#include "erofs/format.h"
#include "erofs/image.h"
#include "erofs/tree.h"
#include "erofs/xattr.h"

namespace seekable::erofs {

// Of every inode; Plan tells what few of them have.
struct PlannedInode {
  uint64_t offset = 0;              // of the inode in the image; a multiple of kSlotSize
  InodeId id = 0;                   // in the tree
  uint32_t first_block = kNoBlock;  // of its blocks, if it has any
  uint32_t detail = 0;              // directories: index into Plan::directories; kChunked: of chunk_maps
  Layout layout = Layout::kPlain;
  bool extended = false;

  uint64_t nid() const { return offset / kSlotSize; }
};

struct PlannedDirectory {
  uint64_t size = 0;         // i_size
  uint32_t first_block = 0;  // index into Plan::directory_blocks
};

struct Plan {
  static constexpr uint32_t kNotWritten = 0xFFFFFFFF;

  Tree tree;
  uint32_t block_size = 0;
  std::vector<PlannedInode> inodes;    // by rising offset
  std::vector<uint32_t> index_of;      // InodeId → index into `inodes`, or kNotWritten
  std::vector<uint32_t> block_owners;  // indices of directories and symlinks that have blocks, likewise
  std::vector<PlannedDirectory> directories;
  std::vector<DirectoryBlock> directory_blocks;
  std::vector<ChunkMap> chunk_maps;
  DataMap data;
  std::optional<DataDevice> device;   // that all chunk maps point into, by blocks of it
  SharedXattrs shared_xattrs;         // its keys are views of the tree's strings, which stay where they are
  std::vector<uint32_t> xattr_sizes;  // bytes of the bodies of Tree::xattrs
  uint64_t inodes_end = 0;            // byte after the last inode and its body
  uint64_t metadata_blocks = 0;       // before the first block of file data
  uint64_t hot_end_block = 0;         // 0: no file's data is hot
  std::vector<uint32_t> hot_found;    // indices into PlanOptions::hot
  uint64_t total_blocks = 0;

  const Inode& tree_inode(const PlannedInode& inode) const { return tree.inodes[inode.id]; }
  // i_size.
  uint64_t size_of(const PlannedInode& inode) const;
  // Bytes of the xattr body behind the inode.
  uint32_t xattr_size_of(const PlannedInode& inode) const;
  // Bytes of inode and xattrs.
  uint64_t head_size(const PlannedInode& inode) const;
  // Where the inline tail or the chunk table lies in the image.
  uint64_t body_offset(const PlannedInode& inode) const;
  // Where the shared xattrs begin: behind superblock and device table.
  uint64_t shared_xattrs_offset() const { return kSuperblockEnd + (device ? sizeof(DeviceSlot) : 0); }
  uint64_t chunk_entry_size() const { return device ? sizeof(ChunkIndex) : kChunkEntrySize; }
  // Blocks that `inode` owns; from its first_block on, unless it is chunked.
  uint64_t blocks_of(const PlannedInode& inode) const;
  // Bytes of the body right behind the head of `inode`: inline tail or chunk table.
  uint64_t body_size(const PlannedInode& inode) const;
};

// Takes a tree whose names are sorted. Errors as those of plan_image().
Result<Plan> make_plan(Tree tree, const PlanOptions& options, Job& job);

}  // namespace seekable::erofs
