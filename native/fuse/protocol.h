// The part of the FUSE protocol that a read-only folder of files takes: what the kernel asks and how it is
// answered. Numbers and layouts are those of the kernel's ABI, version 7.31 and later; little is trusted to
// the system's own header, which may be older than the kernel.
#pragma once

#include <cstdint>

namespace seekable::fuse {

constexpr uint32_t kMajor = 7;
constexpr uint32_t kMinor = 31;
constexpr uint64_t kRootNode = 1;
constexpr uint32_t kMaxRead = 1U << 20;  // bytes of one answer: 256 pages of 4 KiB
constexpr uint16_t kMaxPages = 256;

// A request's first bytes. `size` counts the header.
struct InHeader {
  uint32_t size;
  uint32_t opcode;
  uint64_t unique;
  uint64_t node;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint16_t extensions;
  uint16_t padding;
};
static_assert(sizeof(InHeader) == 40);

// An answer's first bytes. `error` is 0 or a negative errno, and then nothing follows.
struct OutHeader {
  uint32_t size;
  int32_t error;
  uint64_t unique;
};
static_assert(sizeof(OutHeader) == 16);

enum class Opcode : uint32_t {
  kLookup = 1,
  kForget = 2,
  kGetattr = 3,
  kOpen = 14,
  kRead = 15,
  kStatfs = 17,
  kRelease = 18,
  kFlush = 25,
  kInit = 26,
  kOpendir = 27,
  kReaddir = 28,
  kReleasedir = 29,
  kInterrupt = 36,
  kDestroy = 38,
  kBatchForget = 42,
};

// Of InitIn and InitOut.
namespace flag {
constexpr uint32_t kAsyncRead = 1U << 0;
// Direct reads wait without being interrupted: else any signal to a reader of what is mounted upon the file
// is an error to it.
constexpr uint32_t kAsyncDirect = 1U << 15;
constexpr uint32_t kParallelDirectories = 1U << 18;
constexpr uint32_t kMaxPages = 1U << 22;
constexpr uint32_t kExtended = 1U << 30;           // flags2 counts
constexpr uint32_t kHasResend2 = 1U << (39 - 32);  // of flags2: the kernel sends unanswered requests again
}  // namespace flag

struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;  // since 7.36, where `flags` has kExtended
};

struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_granularity;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t unused[7];
};
static_assert(sizeof(InitOut) == 64);

struct Attributes {
  uint64_t node;
  uint64_t size;
  uint64_t blocks;
  uint64_t atime;
  uint64_t mtime;
  uint64_t ctime;
  uint32_t atime_nsec;
  uint32_t mtime_nsec;
  uint32_t ctime_nsec;
  uint32_t mode;
  uint32_t links;
  uint32_t uid;
  uint32_t gid;
  uint32_t rdev;
  uint32_t block_size;
  uint32_t flags;
};
static_assert(sizeof(Attributes) == 88);

struct EntryOut {
  uint64_t node;
  uint64_t generation;
  uint64_t entry_valid;  // seconds
  uint64_t attributes_valid;
  uint32_t entry_valid_nsec;
  uint32_t attributes_valid_nsec;
  Attributes attributes;
};
static_assert(sizeof(EntryOut) == 128);

struct AttributesOut {
  uint64_t valid;  // seconds
  uint32_t valid_nsec;
  uint32_t padding;
  Attributes attributes;
};
static_assert(sizeof(AttributesOut) == 104);

constexpr uint32_t kKeepCache = 2;  // of OpenOut: what the page cache has of the file stays
struct OpenOut {
  uint64_t handle;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(OpenOut) == 16);

struct ReleaseIn {
  uint64_t handle;
  uint32_t flags;
  uint32_t release_flags;
  uint64_t lock_owner;
};
static_assert(sizeof(ReleaseIn) == 24);

// Of files and of directories.
struct ReadIn {
  uint64_t handle;
  uint64_t offset;
  uint32_t size;
  uint32_t read_flags;
  uint64_t lock_owner;
  uint32_t flags;
  uint32_t padding;
};
static_assert(sizeof(ReadIn) == 40);

// Followed by the name, padded to 8 bytes.
struct DirectoryEntry {
  uint64_t node;
  uint64_t next;  // where a later READDIR goes on
  uint32_t name_size;
  uint32_t type;
};
static_assert(sizeof(DirectoryEntry) == 24);

struct StatfsOut {
  uint64_t blocks;
  uint64_t blocks_free;
  uint64_t blocks_available;
  uint64_t files;
  uint64_t files_free;
  uint32_t block_size;
  uint32_t max_name;
  uint32_t fragment_size;
  uint32_t padding;
  uint32_t spare[6];
};
static_assert(sizeof(StatfsOut) == 80);

struct InterruptIn {
  uint64_t unique;
};

// An answer without a request (unique 0) is a notice, its code in place of the error. This one asks for the
// requests that an earlier server took and did not answer; they come with the highest bit of `unique` set.
constexpr int32_t kNotifyResend = 7;
// This one tells that a name is gone, before the kernel asks again by itself.
constexpr int32_t kNotifyInvalidEntry = 3;
// Followed by the name, and a zero.
struct InvalidEntry {
  uint64_t folder;
  uint32_t name_size;  // without the zero
  uint32_t flags;
};
static_assert(sizeof(InvalidEntry) == 16);

}  // namespace seekable::fuse
