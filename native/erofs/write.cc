#include "erofs/write.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>

#include "base/checked.h"
#include "erofs/crc32c.h"
#include "erofs/device_map.h"
#include "erofs/format.h"
#include "erofs/small_reads.h"
#include "erofs/window.h"

namespace seekable::erofs {

namespace {

class Writer {
 public:
  Writer(const ImageContent& content, SmallReads& data, Window window)
      : plan_(content.plan), tree_(plan_.tree), data_(data), window_(window) {}

  // The whole window but the superblock, whose place is zero.
  Status write_content() const {
    TRY(write_inodes());
    TRY(write_blocks());
    return ok();
  }

 private:
  Status write_inodes() const;
  Status write_inode(uint32_t index) const;
  uint32_t body_field(const PlannedInode& planned, const Inode& inode) const;
  void write_compact(uint32_t index) const;
  void write_extended(uint32_t index) const;
  void write_chunk_table(const PlannedInode& planned) const;

  Status write_blocks() const;
  Status write_blocks_of(const PlannedInode& planned) const;

  Status write_data(const PlannedInode& planned, uint64_t from, uint64_t length, uint64_t offset) const;
  void write_directory(const PlannedInode& planned, uint64_t from, uint64_t length, uint64_t offset) const;
  Status write_file(const Inode& inode, uint64_t from, uint64_t length, uint64_t offset) const;

  uint64_t block_offset(uint64_t block) const { return block * plan_.block_size; }

  const Plan& plan_;
  const Tree& tree_;
  SmallReads& data_;
  const Window window_;
};

// Everything before the first whole block of a directory or symlink.
Status Writer::write_inodes() const {
  window_.clear(0, round_up(plan_.inodes_end, plan_.block_size));
  if (plan_.device) window_.put(kSuperblockEnd, bytes_of(device_slot(*plan_.device, plan_.block_size)));
  window_.put(plan_.shared_xattrs_offset(), plan_.shared_xattrs.area());
  if (window_.begin() >= plan_.inodes_end) return ok();
  // The inode before the first that starts in the window may reach into it.
  const auto after = std::ranges::upper_bound(plan_.inodes, window_.begin(), {}, &PlannedInode::offset);
  size_t index = static_cast<size_t>(after - plan_.inodes.begin());
  if (index > 0) --index;
  for (; index < plan_.inodes.size() && plan_.inodes[index].offset < window_.end(); ++index) {
    TRY(write_inode(static_cast<uint32_t>(index)));
  }
  return ok();
}

Status Writer::write_inode(uint32_t index) const {
  const PlannedInode& planned = plan_.inodes[index];
  const Inode& inode = tree_.inodes[planned.id];
  if (planned.extended) {
    write_extended(index);
  } else {
    write_compact(index);
  }
  if (const uint32_t size = plan_.xattr_size_of(planned); size > 0) {
    const uint64_t offset = planned.offset + plan_.head_size(planned) - size;
    window_.put(offset, xattr_body(*tree_.xattrs_of(inode), plan_.shared_xattrs, size));
  }
  if (planned.layout == Layout::kChunked) write_chunk_table(planned);
  if (planned.layout == Layout::kInline) {
    const uint64_t tail = plan_.body_size(planned);
    TRY(write_data(planned, plan_.size_of(planned) - tail, tail, plan_.body_offset(planned)));
  }
  return ok();
}

uint16_t format_field(const PlannedInode& planned) {
  const auto layout = static_cast<uint16_t>(planned.layout);
  return static_cast<uint16_t>(layout << kLayoutShift | (planned.extended ? kExtendedInode : 0));
}

uint16_t xattr_count_field(uint32_t xattr_size) {
  if (xattr_size == 0) return 0;
  return static_cast<uint16_t>((xattr_size - sizeof(XattrHeader)) / kXattrUnit + 1);
}

uint32_t Writer::body_field(const PlannedInode& planned, const Inode& inode) const {
  switch (inode.mode & S_IFMT) {
    case S_IFCHR:
    case S_IFBLK: {
      const Device device = tree_.device(inode);
      return (device.minor & 0xFF) | device.major << 8 | (device.minor & ~0xFFU) << 12;
    }
    case S_IFIFO:
    case S_IFSOCK: return 0;
    default: break;
  }
  if (planned.layout != Layout::kChunked) return planned.first_block;
  return plan_.chunk_maps[planned.detail].block_bits | (plan_.device ? kChunkIndexes : 0);
}

void Writer::write_compact(uint32_t index) const {
  const PlannedInode& planned = plan_.inodes[index];
  const Inode& inode = tree_.inodes[planned.id];
  window_.put(planned.offset, bytes_of(CompactInode{
                                  .format = format_field(planned),
                                  .xattr_count = xattr_count_field(plan_.xattr_size_of(planned)),
                                  .mode = inode.mode,
                                  .nlink = static_cast<uint16_t>(inode.nlink),
                                  .size = static_cast<uint32_t>(plan_.size_of(planned)),
                                  .mtime_delta = 0,
                                  .body = body_field(planned, inode),
                                  .ino = index + 1,
                                  .uid = static_cast<uint16_t>(inode.uid),
                                  .gid = static_cast<uint16_t>(inode.gid),
                                  .reserved = 0,
                              }));
}

void Writer::write_extended(uint32_t index) const {
  const PlannedInode& planned = plan_.inodes[index];
  const Inode& inode = tree_.inodes[planned.id];
  window_.put(planned.offset, bytes_of(ExtendedInode{
                                  .format = format_field(planned),
                                  .xattr_count = xattr_count_field(plan_.xattr_size_of(planned)),
                                  .mode = inode.mode,
                                  .blocks_high = 0,
                                  .size = plan_.size_of(planned),
                                  .body = body_field(planned, inode),
                                  .ino = index + 1,
                                  .uid = inode.uid,
                                  .gid = inode.gid,
                                  .mtime = inode.mtime,
                                  .mtime_nsec = inode.mtime_nsec,
                                  .nlink = inode.nlink,
                                  .reserved = {},
                              }));
}

void Writer::write_chunk_table(const PlannedInode& planned) const {
  const ChunkMap& map = plan_.chunk_maps[planned.detail];
  const uint64_t table = plan_.body_offset(planned);
  const uint64_t entry_size = plan_.chunk_entry_size();
  const Window::Part part = window_.part(table, map.chunks * entry_size);
  if (part.bytes.empty()) return;
  const uint64_t first = part.skip / entry_size;
  const uint64_t end = ceil_divide(part.skip + part.bytes.size(), entry_size);
  auto run =
      std::ranges::partition_point(map.runs, [&](const ChunkRun& r) { return r.chunk + r.count <= first; });
  for (uint64_t chunk = first; chunk < end; ++chunk) {
    if (run != map.runs.end() && chunk >= run->chunk + run->count) ++run;
    uint32_t block = kNoBlock;
    if (run != map.runs.end() && chunk >= run->chunk) {
      const uint64_t first_block = plan_.device ? 0 : planned.first_block;
      block = static_cast<uint32_t>(first_block + run->block + ((chunk - run->chunk) << map.block_bits));
    }
    if (plan_.device) {
      const auto device = static_cast<uint16_t>(block == kNoBlock ? 0 : 1);
      window_.put(table + chunk * entry_size, bytes_of(ChunkIndex{0, device, block}));
    } else {
      window_.put(table + chunk * entry_size, bytes_of(block));
    }
  }
}

// Blocks of directories and symlinks: they reach from the inodes to the end of the metadata without a gap.
Status Writer::write_blocks() const {
  const auto ends_before_window = [&](uint32_t index) {
    const PlannedInode& planned = plan_.inodes[index];
    return block_offset(planned.first_block + plan_.blocks_of(planned)) <= window_.begin();
  };
  auto owner = std::ranges::partition_point(plan_.block_owners, ends_before_window);
  for (; owner != plan_.block_owners.end(); ++owner) {
    const PlannedInode& planned = plan_.inodes[*owner];
    if (block_offset(planned.first_block) >= window_.end()) break;
    TRY(write_blocks_of(planned));
  }
  return ok();
}

Status Writer::write_blocks_of(const PlannedInode& planned) const {
  return write_data(planned, 0, block_offset(plan_.blocks_of(planned)), block_offset(planned.first_block));
}

// `length` bytes of the data of an inode, from byte `from` of it on, at `offset` of the image; behind its
// end, zeros.
Status Writer::write_data(const PlannedInode& planned, uint64_t from, uint64_t length,
                          uint64_t offset) const {
  const Inode& inode = tree_.inodes[planned.id];
  if (S_ISDIR(inode.mode)) {
    write_directory(planned, from, length, offset);
    return ok();
  }
  if (!S_ISLNK(inode.mode)) return write_file(inode, from, length, offset);
  window_.clear(offset, length);
  window_.put(
      offset,
      as_bytes(tree_.target(inode)));  // never split: one inline tail, or blocks from its first byte on
  return ok();
}

// REQUIRES: from is a multiple of the block size.
void Writer::write_directory(const PlannedInode& planned, uint64_t from, uint64_t length,
                             uint64_t offset) const {
  const Window::Part part = window_.part(offset, length);
  const DirectoryContent directory = directory_content(tree_, planned.id);
  const uint64_t first_block = plan_.directories[planned.detail].first_block;
  const auto target_of = [&](InodeId id) {
    const uint64_t nid = plan_.inodes[plan_.index_of[id]].nid();
    return DirentTarget{nid, file_type(tree_.inodes[id].mode)};
  };
  uint8_t buffer[kMaxBlockSize];
  const MutableBytes block(buffer, plan_.block_size);
  const uint64_t end = part.skip + part.bytes.size();
  for (uint64_t at = part.skip / block.size() * block.size(); at < end; at += block.size()) {
    const uint64_t number = first_block + (from + at) / block.size();
    write_directory_block(directory, plan_.directory_blocks[number], target_of, block);
    window_.put(offset + at, block.first(std::min(block.size(), length - at)));
  }
}

// Straight into the window.
Status Writer::write_file(const Inode& inode, uint64_t from, uint64_t length, uint64_t offset) const {
  const Window::Part part = window_.part(offset, length);
  if (part.bytes.empty()) return ok();
  DataMap map;
  map.add_file(tree_, inode, from, length, offset);
  return map.read(data_, offset + part.skip, part.bytes);
}

Superblock make_superblock(const Plan& plan) {
  Superblock superblock{};
  superblock.magic = kMagic;
  superblock.feature_compat = kCompatChecksum | kCompatMtime;
  superblock.block_bits = static_cast<uint8_t>(std::countr_zero(plan.block_size));
  superblock.root_nid = static_cast<uint16_t>(plan.inodes[plan.index_of[Tree::kRoot]].nid());
  superblock.inodes = plan.inodes.size();
  superblock.epoch = plan.tree.epoch;
  superblock.blocks = static_cast<uint32_t>(plan.total_blocks);
  superblock.feature_incompat = plan.chunk_maps.empty() ? 0 : kIncompatChunkedFile;
  if (plan.device) {
    superblock.feature_incompat |= kIncompatDeviceTable;
    superblock.extra_devices = 1;
    superblock.device_slot_offset = kSuperblockEnd / sizeof(DeviceSlot);
  }
  return superblock;
}

// The checksum covers whatever shares the superblock's block, so that is generated here, wherever the window
// is.
Status add_checksum(const ImageContent& content, Superblock& superblock) {
  const uint64_t block_size = content.plan.block_size;
  const uint64_t length = block_size > kSuperblockOffset ? block_size - kSuperblockOffset : block_size;
  uint8_t buffer[kMaxBlockSize];
  const MutableBytes covered(buffer, length);
  const Window window(kSuperblockOffset, covered);
  SmallReads data(content.data);
  TRY(Writer(content, data, window).write_content());
  window.put(kSuperblockOffset, bytes_of(superblock));
  superblock.checksum = crc32c(covered);
  return ok();
}

}  // namespace

Status write_metadata(const ImageContent& content, const std::optional<Uuid>& uuid, uint64_t offset,
                      MutableBytes out) {
  const Window window(offset, out);
  SmallReads data(content.data);
  TRY(Writer(content, data, window).write_content());
  if (window.part(kSuperblockOffset, sizeof(Superblock)).bytes.empty()) return ok();
  Superblock superblock = make_superblock(content.plan);
  if (uuid) {
    std::copy(uuid->begin(), uuid->end(), superblock.uuid);
    TRY(add_checksum(content, superblock));
  }
  window.put(kSuperblockOffset, bytes_of(superblock));
  return ok();
}

}  // namespace seekable::erofs
