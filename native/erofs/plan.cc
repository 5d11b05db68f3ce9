#include "erofs/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <ranges>

#include "base/checked.h"

namespace seekable::erofs {

namespace {

// Larger tails of files would bloat the metadata prefix, which every mount fetches, to save little of the
// image.
constexpr uint64_t kMaxInlineFileTail = 512;
constexpr uint32_t kMaxDeviceMajor = 0xFFF;
constexpr uint32_t kMaxDeviceMinor = 0xFFFFF;
// Inodes planned between two looks at the job's cancellation.
constexpr size_t kInodesPerCheck = 4096;

bool is_type(const Inode& inode, uint16_t type) { return (inode.mode & S_IFMT) == type; }
bool is_device(const Inode& inode) { return is_type(inode, S_IFCHR) || is_type(inode, S_IFBLK); }

class Planner {
 public:
  Planner(const Tree& tree, const PlanOptions& options, Job& job) : tree_(tree), job_(job) {
    plan_.block_size = options.block_size;
  }

  Result<Plan> run() {
    TRY(number_inodes());
    plan_.shared_xattrs.choose(kSuperblockEnd);
    TRY(place_inodes());
    TRY(place_blocks());
    return std::move(plan_);
  }

 private:
  Status number_inodes();
  void number_inode(InodeId id);
  Status plan_directory_of(uint32_t index);

  Status place_inodes();
  Status plan_inode(PlannedInode& planned);
  bool fits_compact(const Inode& inode, uint64_t size) const;
  void choose_layout(PlannedInode& planned, const Inode& inode);
  std::optional<uint64_t> place_inline_tail(const PlannedInode& planned, const Inode& inode) const;

  Status place_blocks();
  Status place_blocks_of(uint32_t index);

  const Inode& tree_inode(const PlannedInode& planned) const { return tree_.inodes[planned.id]; }
  std::string path_of(InodeId id) const;
  std::string name_in(const Directory& directory, InodeId id) const;

  const Tree& tree_;
  Job& job_;
  Plan plan_;
};

// Phase 1: the order of inodes, the sizes of directories, and how often each xattr occurs.
Status Planner::number_inodes() {
  plan_.index_of.assign(tree_.inodes.size(), Plan::kNotWritten);
  plan_.inodes.reserve(tree_.inodes.size());
  number_inode(Tree::kRoot);
  std::vector<uint32_t> pending{0};  // directories whose children have no number yet, the next one last
  while (!pending.empty()) {
    TRY(job_.check());
    const uint32_t index = pending.back();
    pending.pop_back();
    const size_t first_child = plan_.inodes.size();
    TRY(plan_directory_of(index));
    for (size_t child = plan_.inodes.size(); child-- > first_child;) {
      if (tree_inode(plan_.inodes[child]).directory) pending.push_back(static_cast<uint32_t>(child));
    }
  }
  return ok();
}

void Planner::number_inode(InodeId id) {
  if (plan_.index_of[id] != Plan::kNotWritten) return;  // a further name of a hard link
  plan_.index_of[id] = static_cast<uint32_t>(plan_.inodes.size());
  PlannedInode& planned = plan_.inodes.emplace_back();
  planned.id = id;
  const Inode& inode = tree_.inodes[id];
  if (is_type(inode, S_IFREG)) planned.size = inode.size;
  if (is_type(inode, S_IFLNK)) planned.size = inode.target.size();
  if (inode.xattrs) plan_.shared_xattrs.count(*inode.xattrs);
}

Status Planner::plan_directory_of(uint32_t index) {
  const InodeId id = plan_.inodes[index].id;
  const Directory& directory = *tree_.inodes[id].directory;
  plan_.inodes[index].detail = static_cast<uint32_t>(plan_.directory_blocks.size());
  auto size = plan_directory(directory, plan_.block_size, plan_.directory_blocks);
  if (!size.ok()) {
    size.error().what = path_of(id) + (id == Tree::kRoot ? "" : "/") + size.error().what;
    return size.error();
  }
  plan_.inodes[index].size = size.value();
  for (const auto& [name, child] : directory.entries) number_inode(child);
  return plan_.directory_blocks.size() <= UINT32_MAX ? ok()
                                                     : unsupported(path_of(id), "too many directory entries");
}

// Phase 2: inode formats and layouts, and with them every inode number.
Status Planner::place_inodes() {
  plan_.inodes_end = kSuperblockEnd + plan_.shared_xattrs.area().size();
  for (size_t i = 0; i < plan_.inodes.size(); ++i) {
    if (i % kInodesPerCheck == 0) TRY(job_.check());
    TRY(plan_inode(plan_.inodes[i]));
  }
  return ok();
}

Status Planner::plan_inode(PlannedInode& planned) {
  const Inode& inode = tree_inode(planned);
  if (inode.xattrs) {
    auto size = xattr_body_size(*inode.xattrs, plan_.shared_xattrs);
    if (!size.ok()) {
      size.error().what = path_of(planned.id);
      return size.error();
    }
    planned.xattr_size = size.value();
  }
  if (is_device(inode) && (inode.rdev_major > kMaxDeviceMajor || inode.rdev_minor > kMaxDeviceMinor)) {
    return unsupported(path_of(planned.id), "device " + std::to_string(inode.rdev_major) + ":" +
                                                std::to_string(inode.rdev_minor) +
                                                "; EROFS holds at most 4095:1048575");
  }
  planned.extended = !fits_compact(inode, planned.size);
  planned.offset = round_up(plan_.inodes_end, kSlotSize);
  choose_layout(planned, inode);
  plan_.inodes_end = planned.body_offset() + plan_.body_size(planned);
  return ok();
}

bool Planner::fits_compact(const Inode& inode, uint64_t size) const {
  return inode.uid <= UINT16_MAX && inode.gid <= UINT16_MAX && inode.nlink <= UINT16_MAX &&
         size <= UINT32_MAX && inode.mtime == tree_.epoch && inode.mtime_nsec == 0;
}

void Planner::choose_layout(PlannedInode& planned, const Inode& inode) {
  if (is_type(inode, S_IFREG)) {
    if (auto map = plan_chunks(inode.extents, inode.size, plan_.block_size)) {
      planned.layout = Layout::kChunked;
      planned.detail = static_cast<uint32_t>(plan_.chunk_maps.size());
      plan_.chunk_maps.push_back(std::move(*map));
      return;
    }
  }
  if (const auto offset = place_inline_tail(planned, inode)) {
    planned.layout = Layout::kInline;
    planned.offset = *offset;
  }
}

// Where the inode goes, at or after its offset, if its last partial block is to lie behind it: that must not
// cross a block, nor may any part of a symlink (older kernels read those in one piece). Nothing if there
// is no such place, or if the gap and the tail cost more than a block.
std::optional<uint64_t> Planner::place_inline_tail(const PlannedInode& planned, const Inode& inode) const {
  const uint64_t block_size = plan_.block_size;
  const uint64_t tail = planned.size % block_size;
  const bool is_link = is_type(inode, S_IFLNK);
  if (tail == 0 || (is_type(inode, S_IFREG) && tail > kMaxInlineFileTail)) return std::nullopt;
  if (is_link && planned.size > block_size) return std::nullopt;
  const uint64_t start = is_link ? planned.offset : planned.body_offset();
  const uint64_t length = is_link ? planned.head_size() + tail : tail;
  const auto fits = [&](uint64_t gap) { return (start + gap) % block_size + length <= block_size; };
  if (fits(0)) return planned.offset;
  const uint64_t gap = round_up(block_size - start % block_size, kSlotSize);
  if (!fits(gap) || gap + tail > block_size) return std::nullopt;
  return planned.offset + gap;
}

// Phase 3: blocks, those of metadata before those of files.
Status Planner::place_blocks() {
  plan_.total_blocks = ceil_divide(plan_.inodes_end, plan_.block_size);
  for (const bool files : {false, true}) {
    for (uint32_t index = 0; index < plan_.inodes.size(); ++index) {
      if (index % kInodesPerCheck == 0) TRY(job_.check());
      if (is_type(tree_inode(plan_.inodes[index]), S_IFREG) == files) TRY(place_blocks_of(index));
    }
    if (!files) plan_.metadata_blocks = plan_.total_blocks;
  }
  return ok();
}

Status Planner::place_blocks_of(uint32_t index) {
  PlannedInode& planned = plan_.inodes[index];
  const uint64_t blocks = plan_.blocks_of(planned);
  if (blocks == 0) return ok();
  const uint64_t first = plan_.total_blocks;
  plan_.total_blocks += blocks;
  if (plan_.total_blocks > UINT32_MAX) {
    return unsupported(path_of(planned.id), "its " + std::to_string(planned.size) + " bytes, after " +
                                                std::to_string(first) + " blocks of " +
                                                std::to_string(plan_.block_size) +
                                                ", exceed the 4294967295 blocks of an image");
  }
  planned.first_block = static_cast<uint32_t>(first);
  plan_.block_owners.push_back(index);
  return ok();
}

// For errors only: nothing in the tree leads from an inode to its names. Any directory that holds it has a
// number.
std::string Planner::path_of(InodeId id) const {
  std::vector<std::string> names;
  const auto holds = [&](const PlannedInode& planned) {
    const Inode& inode = tree_inode(planned);
    return inode.directory && !name_in(*inode.directory, id).empty();
  };
  if (!tree_.inodes[id].directory) {
    const auto parent = std::ranges::find_if(plan_.inodes, holds);
    names.push_back(name_in(*tree_inode(*parent).directory, id));
    id = parent->id;
  }
  while (id != Tree::kRoot) {
    const InodeId parent = tree_.inodes[id].directory->parent;
    names.push_back(name_in(*tree_.inodes[parent].directory, id));
    id = parent;
  }
  std::string path;
  for (const std::string& name : names | std::views::reverse) path += "/" + name;
  return path.empty() ? "/" : path;
}

std::string Planner::name_in(const Directory& directory, InodeId id) const {
  for (const auto& [name, entry] : directory.entries) {
    if (entry == id) return name;
  }
  return {};
}

}  // namespace

uint64_t Plan::blocks_of(const PlannedInode& inode) const {
  switch (inode.layout) {
    case Layout::kInline: return inode.size / block_size;
    case Layout::kChunked: return chunk_maps[inode.detail].blocks;
    case Layout::kPlain: break;
  }
  return ceil_divide(inode.size, block_size);
}

uint64_t Plan::body_size(const PlannedInode& inode) const {
  switch (inode.layout) {
    case Layout::kInline: return inode.size % block_size;
    case Layout::kChunked: return chunk_maps[inode.detail].chunks * kChunkEntrySize;
    case Layout::kPlain: break;
  }
  return 0;
}

Result<Plan> make_plan(const Tree& tree, const PlanOptions& options, Job& job) {
  return Planner(tree, options, job).run();
}

}  // namespace seekable::erofs
