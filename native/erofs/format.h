// EROFS on disk, as far as this builder writes it: all integers little-endian, no padding.
// Structures: docs/format/erofs.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace seekable::erofs {

inline constexpr uint32_t kMinBlockSize = 512;
inline constexpr uint32_t kMaxBlockSize = 4096;  // the kernel refuses blocks larger than its pages
inline constexpr uint32_t kMagic = 0xE0F5E1E2;
inline constexpr uint64_t kSuperblockOffset = 1024;
inline constexpr uint64_t kSlotSize = 32;  // an inode starts at nid * kSlotSize
inline constexpr uint32_t kNoBlock = 0xFFFFFFFF;

inline constexpr uint32_t kCompatChecksum = 0x1;
inline constexpr uint32_t kCompatMtime = 0x2;
inline constexpr uint32_t kIncompatChunkedFile = 0x4;
inline constexpr uint32_t kIncompatDeviceTable = 0x8;

struct Superblock {
  uint32_t magic;
  uint32_t checksum;
  uint32_t feature_compat;
  uint8_t block_bits;
  uint8_t extension_slots;
  uint16_t root_nid;
  uint64_t inodes;
  int64_t epoch;
  uint32_t fixed_nsec;
  uint32_t blocks;
  uint32_t meta_block;
  uint32_t xattr_block;
  uint8_t uuid[16];
  uint8_t volume_name[16];
  uint32_t feature_incompat;
  uint16_t compression_algorithms;
  uint16_t extra_devices;
  uint16_t device_slot_offset;
  uint8_t directory_block_bits;
  uint8_t xattr_prefix_count;
  uint32_t xattr_prefix_start;
  uint64_t packed_nid;
  uint8_t xattr_filter_reserved;
  uint8_t ishare_xattr_prefix;
  uint16_t reserved;
  uint32_t build_time;
  uint64_t root_nid_8b;
  uint64_t reserved2;
};
static_assert(sizeof(Superblock) == 128);
inline constexpr uint64_t kSuperblockEnd = kSuperblockOffset + sizeof(Superblock);

// Of the device table, which lies right behind the superblock where there is one.
struct DeviceSlot {
  uint8_t tag[64];
  uint32_t blocks;
  uint32_t flat_address;  // 0: the device is reached by its number alone
  uint16_t blocks_high;
  uint16_t flat_address_high;
  uint8_t reserved[52];
};
static_assert(sizeof(DeviceSlot) == 128);
// The superblock counts the table's place in slots.
static_assert(kSuperblockEnd % sizeof(DeviceSlot) == 0);

enum class Layout : uint8_t {
  kPlain = 0,    // consecutive blocks
  kInline = 2,   // consecutive blocks, the last and partial one behind the inode
  kChunked = 4,  // a table behind the inode names the block of each chunk
};

// Of i_format; the layout is shifted over it.
inline constexpr uint16_t kExtendedInode = 1;
inline constexpr unsigned kLayoutShift = 1;

struct CompactInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t nlink;
  uint32_t size;
  uint32_t mtime_delta;
  uint32_t body;  // first block, device number, or chunk format
  uint32_t ino;
  uint16_t uid;
  uint16_t gid;
  uint32_t reserved;
};
static_assert(sizeof(CompactInode) == 32);

struct ExtendedInode {
  uint16_t format;
  uint16_t xattr_count;
  uint16_t mode;
  uint16_t blocks_high;
  uint64_t size;
  uint32_t body;
  uint32_t ino;
  uint32_t uid;
  uint32_t gid;
  int64_t mtime;
  uint32_t mtime_nsec;
  uint32_t nlink;
  uint8_t reserved[16];
};
static_assert(sizeof(ExtendedInode) == 64);

// Chunks hold 2^n blocks, n in the five low bits of the chunk format; other bits 0: entries are 4-byte
// blocks.
inline constexpr unsigned kMaxChunkBlockBits = 31;
inline constexpr uint64_t kChunkEntrySize = 4;
// Of the chunk format: entries are ChunkIndexes, from the next multiple of their size on.
inline constexpr uint32_t kChunkIndexes = 0x20;
struct ChunkIndex {
  uint16_t block_high;
  uint16_t device;  // from 1; 0: the image itself
  uint32_t block;
};
static_assert(sizeof(ChunkIndex) == 8);

enum class FileType : uint8_t {
  kUnknown = 0,
  kRegular = 1,
  kDirectory = 2,
  kCharacterDevice = 3,
  kBlockDevice = 4,
  kFifo = 5,
  kSocket = 6,
  kSymlink = 7,
};

struct __attribute__((packed)) Dirent {
  uint64_t nid;
  uint16_t name_offset;  // from the start of the directory block
  FileType type;
  uint8_t reserved;
};
static_assert(sizeof(Dirent) == 12);
inline constexpr size_t kMaxNameLength = 255;

// The body of a device's inode has 12 bits of major and 20 bits of minor number.
inline constexpr uint32_t kMaxDeviceMajor = 0xFFF;
inline constexpr uint32_t kMaxDeviceMinor = 0xFFFFF;

// The xattr ibody: header, shared ids of 4 bytes, inline entries.
struct XattrHeader {
  uint32_t name_filter;
  uint8_t shared_count;
  uint8_t reserved[7];
};
static_assert(sizeof(XattrHeader) == 12);
inline constexpr uint64_t kSharedIdSize = 4;
inline constexpr size_t kMaxSharedIds = 255;
// i_xattr_icount counts 4-byte units from 1 (the header) in 16 bits.
inline constexpr uint64_t kXattrUnit = 4;
inline constexpr uint64_t kMaxXattrBody = sizeof(XattrHeader) + kXattrUnit * (0xFFFF - 1);

// Followed by the name without its prefix, the value, and zeros up to kXattrUnit.
struct XattrEntry {
  uint8_t name_length;
  uint8_t name_index;
  uint16_t value_size;
};
static_assert(sizeof(XattrEntry) == 4);
inline constexpr size_t kMaxXattrValue = UINT16_MAX;

}  // namespace seekable::erofs
