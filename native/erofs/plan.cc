#include "erofs/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "base/checked.h"
#include "erofs/device_map.h"

namespace seekable::erofs {

namespace {

// Larger tails of files would bloat the metadata prefix, which every mount fetches, to save little of the
// image.
constexpr uint64_t kMaxInlineFileTail = 512;
// Inodes planned between two looks at the job's cancellation.
constexpr size_t kInodesPerCheck = 4096;

bool is_type(const Inode& inode, uint16_t type) { return (inode.mode & S_IFMT) == type; }
bool is_device(const Inode& inode) { return is_type(inode, S_IFCHR) || is_type(inode, S_IFBLK); }

class Planner {
 public:
  Planner(Tree tree, const PlanOptions& options, Job& job) : options_(options), job_(job) {
    plan_.tree = std::move(tree);
    plan_.block_size = options.block_size;
  }

  Result<Plan> run() {
    TRY(number_inodes());
    TRY(find_device());
    TRY(find_hot_files());
    plan_.shared_xattrs.choose(plan_.shared_xattrs_offset());
    TRY(place_inodes());
    TRY(place_blocks());
    return std::move(plan_);
  }

 private:
  Status number_inodes();
  void number_inode(InodeId id);
  Status plan_directory_of(uint32_t index);
  Status find_device();
  Status find_hot_files();

  Status place_inodes();
  Status plan_inode(PlannedInode& planned);
  Status check_device(const PlannedInode& planned) const;
  Status plan_xattrs(const PlannedInode& planned, const Inode& inode);
  bool fits_compact(const Inode& inode, uint64_t size) const;
  Status choose_layout(PlannedInode& planned, const Inode& inode);
  Result<std::optional<ChunkMap>> plan_chunks_of(const PlannedInode& planned, const Inode& inode) const;
  std::optional<uint64_t> place_inline_tail(const PlannedInode& planned, const Inode& inode) const;

  Status place_blocks();
  Status place_hot_part();
  Status place_blocks_of(uint32_t index);
  enum class Runs { kAll, kHot, kOthers };
  Status place_runs(PlannedInode& planned, Runs which);
  Result<uint32_t> take_blocks(const PlannedInode& planned, uint64_t blocks);

  const Inode& tree_inode(const PlannedInode& planned) const { return plan_.tree_inode(planned); }
  // For errors: as containers see it.
  std::string path_of(InodeId id) const { return "/" + tree_.path_of(id); }

  struct HotInode {
    uint32_t index;  // into Plan::inodes
    const HotFile& file;
  };

  const PlanOptions& options_;
  Job& job_;
  Plan plan_;
  const Tree& tree_ = plan_.tree;
  std::vector<HotInode> hot_;  // in the order of first use
  std::unordered_map<InodeId, const HotFile*> hot_file_of_;
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
      if (is_type(tree_inode(plan_.inodes[child]), S_IFDIR)) pending.push_back(static_cast<uint32_t>(child));
    }
  }
  return ok();
}

void Planner::number_inode(InodeId id) {
  if (plan_.index_of[id] != Plan::kNotWritten) return;  // a further name of a hard link
  plan_.index_of[id] = static_cast<uint32_t>(plan_.inodes.size());
  plan_.inodes.emplace_back().id = id;
  if (const Xattrs* xattrs = tree_.xattrs_of(tree_.inodes[id])) plan_.shared_xattrs.count(*xattrs);
}

Status Planner::plan_directory_of(uint32_t index) {
  const InodeId id = plan_.inodes[index].id;
  const DirectoryContent directory = directory_content(tree_, id);
  const auto first_block = static_cast<uint32_t>(plan_.directory_blocks.size());
  auto size = plan_directory(directory, plan_.block_size, plan_.directory_blocks);
  if (!size.ok()) {
    size.error().what = path_of(id) + (id == Tree::kRoot ? "" : "/") + size.error().what;
    return size.error();
  }
  plan_.inodes[index].detail = static_cast<uint32_t>(plan_.directories.size());
  plan_.directories.push_back({size.value(), first_block});
  for (const Name& name : directory.names) number_inode(name.inode);
  return plan_.directory_blocks.size() <= UINT32_MAX ? ok()
                                                     : unsupported(path_of(id), "too many directory entries");
}

// A device is needed as soon as one file has data.
Status Planner::find_device() {
  if (!options_.device) return ok();
  for (size_t i = 0; i < plan_.inodes.size(); ++i) {
    if (i % kInodesPerCheck == 0) TRY(job_.check());
    const Inode& inode = tree_inode(plan_.inodes[i]);
    if (!is_type(inode, S_IFREG) || inode.data == Inode::Data::kNone) continue;
    plan_.device = options_.device;
    return check_data_device(*plan_.device, plan_.block_size);
  }
  return ok();
}

// Each inode once, by the first of its names that is in the list.
Status Planner::find_hot_files() {
  for (uint32_t i = 0; i < options_.hot.size(); ++i) {
    if (i % kInodesPerCheck == 0) TRY(job_.check());
    const HotFile& file = options_.hot[i];
    const auto id = find_path(tree_, file.path);
    if (!id || !is_type(tree_.inodes[*id], S_IFREG)) continue;
    plan_.hot_found.push_back(i);
    if (hot_file_of_.emplace(*id, &file).second) hot_.push_back({plan_.index_of[*id], file});
  }
  return ok();
}

// Phase 2: inode formats and layouts, and with them every inode number.
Status Planner::place_inodes() {
  plan_.inodes_end = plan_.shared_xattrs_offset() + plan_.shared_xattrs.area().size();
  plan_.xattr_sizes.resize(tree_.xattrs.size());
  for (size_t i = 0; i < plan_.inodes.size(); ++i) {
    if (i % kInodesPerCheck == 0) TRY(job_.check());
    TRY(plan_inode(plan_.inodes[i]));
  }
  return ok();
}

Status Planner::plan_inode(PlannedInode& planned) {
  const Inode& inode = tree_inode(planned);
  if (inode.xattrs != Inode::kNoXattrs) TRY(plan_xattrs(planned, inode));
  if (is_device(inode)) TRY(check_device(planned));
  planned.extended = !fits_compact(inode, plan_.size_of(planned));
  planned.offset = round_up(plan_.inodes_end, kSlotSize);
  TRY(choose_layout(planned, inode));
  plan_.inodes_end = plan_.body_offset(planned) + plan_.body_size(planned);
  return ok();
}

Status Planner::plan_xattrs(const PlannedInode& planned, const Inode& inode) {
  auto size = xattr_body_size(*tree_.xattrs_of(inode), plan_.shared_xattrs);
  if (!size.ok()) {
    size.error().what = path_of(planned.id);
    return size.error();
  }
  plan_.xattr_sizes[inode.xattrs] = size.value();
  return ok();
}

Status Planner::check_device(const PlannedInode& planned) const {
  const Device device = tree_.device(tree_inode(planned));
  if (device.major <= kMaxDeviceMajor && device.minor <= kMaxDeviceMinor) return ok();
  return unsupported(path_of(planned.id), "device " + std::to_string(device.major) + ":" +
                                              std::to_string(device.minor) + "; EROFS holds at most " +
                                              std::to_string(kMaxDeviceMajor) + ":" +
                                              std::to_string(kMaxDeviceMinor));
}

bool Planner::fits_compact(const Inode& inode, uint64_t size) const {
  return inode.uid <= UINT16_MAX && inode.gid <= UINT16_MAX && inode.nlink <= UINT16_MAX &&
         size <= UINT32_MAX && inode.mtime == tree_.epoch && inode.mtime_nsec == 0;
}

Status Planner::choose_layout(PlannedInode& planned, const Inode& inode) {
  if (auto map = TRY(plan_chunks_of(planned, inode))) {
    planned.layout = Layout::kChunked;
    planned.detail = static_cast<uint32_t>(plan_.chunk_maps.size());
    plan_.chunk_maps.push_back(std::move(*map));
    return ok();
  }
  if (const auto offset = place_inline_tail(planned, inode)) {
    planned.layout = Layout::kInline;
    planned.offset = *offset;
  }
  return ok();
}

// Of a file on another device, with holes, or whose data goes to two places; nothing for one that lies in one
// piece of this image.
Result<std::optional<ChunkMap>> Planner::plan_chunks_of(const PlannedInode& planned,
                                                        const Inode& inode) const {
  const std::optional<ChunkMap> none;
  if (!is_type(inode, S_IFREG)) return none;
  if (plan_.device) {
    Extent whole;
    auto map = plan_device_chunks(tree_.extents_of(inode, whole), inode.size, plan_.block_size);
    if (!map.ok()) map.error().what = path_of(planned.id);
    return map;
  }
  if (inode.data != Inode::Data::kWhole) {
    Extent whole;
    if (auto map = plan_chunks(tree_.extents_of(inode, whole), inode.size, plan_.block_size)) return map;
  }
  const auto hot = hot_file_of_.find(planned.id);
  if (hot == hot_file_of_.end()) return none;
  return plan_parts(hot->second->ranges, inode.size, plan_.block_size);
}

// Where the inode goes, at or after its offset, if its last partial block is to lie behind it: that must not
// cross a block, nor may any part of a symlink (older kernels read those in one piece). Nothing if there
// is no such place, or if the gap and the tail cost more than a block.
std::optional<uint64_t> Planner::place_inline_tail(const PlannedInode& planned, const Inode& inode) const {
  const uint64_t block_size = plan_.block_size;
  const uint64_t size = plan_.size_of(planned);
  const uint64_t tail = size % block_size;
  const bool is_link = is_type(inode, S_IFLNK);
  if (tail == 0 || (is_type(inode, S_IFREG) && tail > kMaxInlineFileTail)) return std::nullopt;
  if (is_link && size > block_size) return std::nullopt;
  const uint64_t start = is_link ? planned.offset : plan_.body_offset(planned);
  const uint64_t length = is_link ? plan_.head_size(planned) + tail : tail;
  const auto fits = [&](uint64_t gap) { return (start + gap) % block_size + length <= block_size; };
  if (fits(0)) return planned.offset;
  const uint64_t gap = round_up(block_size - start % block_size, kSlotSize);
  if (!fits(gap) || gap + tail > block_size) return std::nullopt;
  return planned.offset + gap;
}

// Phase 3: blocks, those of metadata before those of files, and of these the hot ones first.
Status Planner::place_blocks() {
  plan_.total_blocks = ceil_divide(plan_.inodes_end, plan_.block_size);
  for (const bool files : {false, true}) {
    for (uint32_t index = 0; index < plan_.inodes.size(); ++index) {
      if (index % kInodesPerCheck == 0) TRY(job_.check());
      if (is_type(tree_inode(plan_.inodes[index]), S_IFREG) == files) TRY(place_blocks_of(index));
    }
    if (files) break;
    plan_.metadata_blocks = plan_.total_blocks;
    TRY(place_hot_part());
  }
  return ok();
}

Status Planner::place_hot_part() {
  for (const HotInode& hot : hot_) {
    PlannedInode& planned = plan_.inodes[hot.index];
    if (planned.layout == Layout::kChunked) {
      TRY(place_runs(planned, Runs::kHot));
    } else {
      TRY(place_blocks_of(hot.index));
    }
  }
  if (plan_.total_blocks == plan_.metadata_blocks) return ok();
  plan_.total_blocks = round_up(plan_.total_blocks, options_.hot_border / plan_.block_size);
  plan_.hot_end_block = plan_.total_blocks;
  return ok();
}

Status Planner::place_blocks_of(uint32_t index) {
  PlannedInode& planned = plan_.inodes[index];
  if (planned.layout == Layout::kChunked) {
    if (plan_.device) return ok();  // it has no blocks here
    return place_runs(planned, hot_file_of_.contains(planned.id) ? Runs::kOthers : Runs::kAll);
  }
  const uint64_t blocks = plan_.blocks_of(planned);
  if (blocks == 0 || planned.first_block != kNoBlock) return ok();  // it may be hot, and placed already
  planned.first_block = TRY(take_blocks(planned, blocks));
  if (is_type(tree_inode(planned), S_IFREG)) {
    // All of it, or all but the inline tail.
    plan_.data.add_file(tree_, tree_inode(planned), 0, blocks * plan_.block_size,
                        uint64_t{planned.first_block} * plan_.block_size);
  } else {
    plan_.block_owners.push_back(index);
  }
  return ok();
}

Status Planner::place_runs(PlannedInode& planned, Runs which) {
  ChunkMap& map = plan_.chunk_maps[planned.detail];
  const unsigned chunk_bits = static_cast<unsigned>(std::countr_zero(plan_.block_size)) + map.block_bits;
  const uint64_t size = plan_.size_of(planned);
  if (map.blocks > UINT32_MAX) TRY(take_blocks(planned, map.blocks));
  for (ChunkRun& run : map.runs) {
    if (which != Runs::kAll && run.is_hot != (which == Runs::kHot)) continue;
    const uint64_t from = uint64_t{run.chunk} << chunk_bits;
    const uint64_t length = std::min(uint64_t{run.count} << chunk_bits, size - from);
    const uint32_t block = TRY(take_blocks(planned, ceil_divide(length, plan_.block_size)));
    if (planned.first_block == kNoBlock) planned.first_block = block;
    run.block = block - planned.first_block;
    plan_.data.add_file(tree_, tree_inode(planned), from, length, uint64_t{block} * plan_.block_size);
  }
  return ok();
}

// The first of `blocks` blocks at the end of what is placed.
Result<uint32_t> Planner::take_blocks(const PlannedInode& planned, uint64_t blocks) {
  const uint64_t first = plan_.total_blocks;
  plan_.total_blocks += blocks;
  if (plan_.total_blocks <= UINT32_MAX) return static_cast<uint32_t>(first);
  return unsupported(path_of(planned.id), "its " + std::to_string(plan_.size_of(planned)) + " bytes, after " +
                                              std::to_string(first) + " blocks of " +
                                              std::to_string(plan_.block_size) +
                                              ", exceed the 4294967295 blocks of an image");
}
}  // namespace

uint64_t Plan::size_of(const PlannedInode& inode) const {
  const Inode& planned = tree_inode(inode);
  return is_type(planned, S_IFDIR) ? directories[inode.detail].size : planned.size;
}

uint32_t Plan::xattr_size_of(const PlannedInode& inode) const {
  const uint32_t xattrs = tree_inode(inode).xattrs;
  return xattrs == Inode::kNoXattrs ? 0 : xattr_sizes[xattrs];
}

uint64_t Plan::head_size(const PlannedInode& inode) const {
  return (inode.extended ? sizeof(ExtendedInode) : sizeof(CompactInode)) + xattr_size_of(inode);
}

uint64_t Plan::body_offset(const PlannedInode& inode) const {
  const uint64_t end = inode.offset + head_size(inode);
  return inode.layout == Layout::kChunked ? round_up(end, chunk_entry_size()) : end;
}

uint64_t Plan::blocks_of(const PlannedInode& inode) const {
  switch (inode.layout) {
    case Layout::kInline: return size_of(inode) / block_size;
    case Layout::kChunked: return chunk_maps[inode.detail].blocks;
    case Layout::kPlain: break;
  }
  return ceil_divide(size_of(inode), block_size);
}

uint64_t Plan::body_size(const PlannedInode& inode) const {
  switch (inode.layout) {
    case Layout::kInline: return size_of(inode) % block_size;
    case Layout::kChunked: return chunk_maps[inode.detail].chunks * chunk_entry_size();
    case Layout::kPlain: break;
  }
  return 0;
}

Result<Plan> make_plan(Tree tree, const PlanOptions& options, Job& job) {
  return Planner(std::move(tree), options, job).run();
}

}  // namespace seekable::erofs
