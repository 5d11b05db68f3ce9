// tar_to_tree() on well-formed tars whose entries contradict each other. The input is not a tar but a recipe
// for one, with few names, so that entries meet: replace each other, link to each other, hide each other.
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/stat.h>

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "layer/tar_to_tree.h"
#include "test/fuzz/require.h"
#include "test/tar_builder.h"

namespace seekable {
namespace {

using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;
using fuzz::require;
using fuzz::require_clean;

constexpr size_t kMaxEntries = 64;

std::string some_path(FuzzedDataProvider& input) {
  static const std::string kParts[] = {
      "a", "b", "c", "d", "..", ".", "", ".wh.a", ".wh.b", ".wh..wh..opq", ".wh..wh.aufs", ".wh."};
  std::string path;
  for (size_t parts = input.ConsumeIntegralInRange<size_t>(1, 5); parts > 0; --parts) {
    path += input.PickValueInArray(kParts) + (parts > 1 ? "/" : "");
  }
  return path;
}

test::PaxRecords some_records(FuzzedDataProvider& input) {
  static const std::string kKeys[] = {"path",
                                      "linkpath",
                                      "mtime",
                                      "uid",
                                      "size",
                                      "SCHILY.xattr.trusted.overlay.opaque",
                                      "comment",
                                      "SCHILY.xattr.user",
                                      "SCHILY.xattr.trusted.overlay.origin",
                                      "GNU.sparse.map",
                                      "GNU.sparse.size",
                                      "LIBARCHIVE.xattr.user.%61"};
  test::PaxRecords records;
  for (size_t count = input.ConsumeIntegralInRange<size_t>(1, 3); count > 0; --count) {
    std::string key = input.PickValueInArray(kKeys);
    const bool names_path = key == "path" || key == "linkpath";
    records.emplace_back(std::move(key),
                         names_path ? some_path(input) : input.ConsumeRandomLengthString(300));
  }
  return records;
}

std::string tar_by_recipe(FuzzedDataProvider& input) {
  static constexpr char kTypes[] = {'0', '1', '2', '3', '4', '5', '6', '7'};
  test::TarBuilder tar;
  for (size_t entries = 0; input.remaining_bytes() > 0 && entries < kMaxEntries; ++entries) {
    if (input.ConsumeIntegralInRange<int>(0, 3) == 0) tar.pax(some_records(input));
    test::Member member = {.name = some_path(input), .typeflag = input.PickValueInArray(kTypes)};
    if (member.typeflag == '1' || member.typeflag == '2') member.target = some_path(input);
    if (member.typeflag == '0') member.data = input.ConsumeRandomLengthString(600);
    member.mode = input.ConsumeIntegral<uint16_t>();
    member.uid = input.ConsumeIntegralInRange<int>(0, 07777777);
    member.mtime = input.ConsumeIntegral<uint32_t>();
    tar.add(member);
  }
  return tar.end().bytes();
}

void check_extents(const Inode& inode, std::span<const erofs::Extent> extents, uint64_t tar_size) {
  uint64_t file_end = 0;
  for (const erofs::Extent& extent : extents) {
    require(extent.length > 0 && extent.file_offset >= file_end && extent.file_offset <= inode.size);
    require(extent.length <= inode.size - extent.file_offset);
    require(extent.source_offset <= tar_size && extent.length <= tar_size - extent.source_offset);
    file_end = extent.file_offset + extent.length;
  }
}

void check_inode(const Tree& tree, const Inode& inode, uint64_t tar_size) {
  require(inode.mtime_nsec < 1'000'000'000 && inode.uid != UINT32_MAX && inode.gid != UINT32_MAX);
  if (S_ISDIR(inode.mode)) require(inode.content < tree.directories.size());
  require(S_ISREG(inode.mode) || inode.data == Inode::Data::kNone);
  if (S_ISLNK(inode.mode)) {
    const std::string_view target = tree.target(inode);
    require(!target.empty() && target.size() < 4096 && target.find('\0') == std::string_view::npos);
    require(target.size() == inode.size);
  }
  erofs::Extent whole;
  check_extents(inode, tree.extents_of(inode, whole), tar_size);
  const erofs::Xattrs* xattrs = tree.xattrs_of(inode);
  if (xattrs == nullptr) return;
  require(!xattrs->empty());
  for (const auto& [name, value] : *xattrs) require(!name.empty());
}

void check_name(std::string_view name) {
  require(!name.empty() && name.size() <= 255 && name != "." && name != "..");
  require(name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos);
  require(!name.starts_with(".wh."));  // whiteouts have overlayfs's form by now
}

// Every directory is in the tree once, below its parent, and link counts are what the names amount to.
void check_tree(const Tree& tree, uint64_t tar_size) {
  std::vector<uint32_t> links(tree.inodes.size(), 0);
  std::vector<bool> entered(tree.inodes.size(), false);
  require(!tree.inodes.empty() && tree.directory(tree.inodes[Tree::kRoot]).parent == Tree::kRoot);
  std::vector<InodeId> open = {Tree::kRoot};
  links[Tree::kRoot] = 2;
  entered[Tree::kRoot] = true;
  while (!open.empty()) {
    const InodeId id = open.back();
    open.pop_back();
    std::optional<std::string_view> previous;
    for (const erofs::Name& name : tree.names_in(tree.directory(tree.inodes[id]))) {
      const InodeId child = name.inode;
      check_name(name.text.view());
      require(!previous || *previous < name.text.view());
      previous = name.text.view();
      require(child < tree.inodes.size());
      const Inode& inode = tree.inodes[child];
      check_inode(tree, inode, tar_size);
      ++links[child];
      if (!S_ISDIR(inode.mode)) continue;
      require(!entered[child] && tree.directory(inode).parent == id);
      entered[child] = true;
      ++links[child];
      ++links[id];
      open.push_back(child);
    }
  }
  for (InodeId id = 0; id < tree.inodes.size(); ++id)
    require(links[id] == 0 || links[id] == tree.inodes[id].nlink);
}

}  // namespace
}  // namespace seekable

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seekable;
  FuzzedDataProvider input(data, size);
  const std::string bytes = tar_by_recipe(input);
  const MemorySource tar(as_bytes(bytes));
  Job job;
  const Result<layer::LayerTree> layer = layer::tar_to_tree(tar, job);
  if (!layer.ok()) {
    require_clean(layer.error());
    return 0;
  }
  check_tree(layer.value().tree, bytes.size());
  require(layer.value().warnings.size() <= 101);
  return 0;
}
