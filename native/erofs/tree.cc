#include "erofs/tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace seekable::erofs {

void Tree::set_data(Inode& inode, std::vector<Extent> pieces) {
  if (pieces.empty()) return;
  if (pieces.size() == 1 && pieces[0].file_offset == 0 && pieces[0].length == inode.size) {
    inode.data = Inode::Data::kWhole;
    inode.content = pieces[0].source_offset;
    return;
  }
  inode.data = Inode::Data::kExtents;
  inode.content = extents.size();
  extents.push_back(std::move(pieces));
}

void Tree::set_target(Inode& inode, std::string_view target) {
  inode.size = target.size();
  inode.content = targets.size();
  targets.push_back(texts.add(target));
}

void Tree::set_device(Inode& inode, Device device) {
  inode.content = devices.size();
  devices.push_back(device);
}

void Tree::set_directory(Inode& inode, InodeId parent) {
  inode.content = directories.size();
  directories.push_back({.parent = parent});
}

Xattrs& Tree::make_xattrs(Inode& inode) {
  if (inode.xattrs == Inode::kNoXattrs) {
    inode.xattrs = static_cast<uint32_t>(xattrs.size());
    xattrs.emplace_back();
  }
  return xattrs[inode.xattrs];
}

const Xattrs* Tree::xattrs_of(const Inode& inode) const {
  return inode.xattrs == Inode::kNoXattrs ? nullptr : &xattrs[inode.xattrs];
}

std::span<const Extent> Tree::extents_of(const Inode& inode, Extent& whole) const {
  switch (inode.data) {
    case Inode::Data::kWhole: whole = {0, inode.content, inode.size}; return std::span(&whole, 1);
    case Inode::Data::kExtents: return extents[inode.content];
    case Inode::Data::kNone: break;
  }
  return {};
}

void Tree::sort_names() {
  for (Directory& directory : directories) directory.count = 0;
  for (const Name& name : names) ++directories[name.directory].count;
  uint32_t end = 0;
  for (Directory& directory : directories) {
    directory.first = end;
    end += std::exchange(directory.count, 0);
  }
  std::vector<Name> grouped(names.size());
  for (const Name& name : names) {
    Directory& directory = directories[name.directory];
    grouped[directory.first + directory.count++] = name;
  }
  names.swap(grouped);
  const auto text = [](const Name& name) { return name.text.view(); };
  for (const Directory& directory : directories) {
    const std::span group = std::span(names).subspan(directory.first, directory.count);
    if (!std::ranges::is_sorted(group, {}, text)) std::ranges::sort(group, {}, text);
  }
}

std::optional<InodeId> Tree::child(InodeId id, std::string_view name) const {
  const std::span group = names_in(directory(inodes[id]));
  const auto found = std::ranges::lower_bound(group, name, {}, [](const Name& n) { return n.text.view(); });
  if (found == group.end() || found->text.view() != name) return std::nullopt;
  return found->inode;
}

std::string Tree::name_in(InodeId directory_id, InodeId id) const {
  for (const Name& name : names_in(directory(inodes[directory_id]))) {
    if (name.inode == id) return std::string(name.text.view());
  }
  return {};
}

std::string Tree::path_of(InodeId id) const {
  std::string path;
  if (!S_ISDIR(inodes[id].mode)) {
    InodeId parent = kRoot;
    for (InodeId candidate = 0; candidate < inodes.size() && path.empty(); ++candidate) {
      if (inodes[candidate].nlink == 0 || !S_ISDIR(inodes[candidate].mode)) continue;
      path = name_in(candidate, id);
      parent = candidate;
    }
    id = parent;
  }
  for (InodeId parent; id != kRoot; id = parent) {
    parent = directory(inodes[id]).parent;
    path = name_in(parent, id) + (path.empty() ? "" : "/") + path;
  }
  return path;
}

}  // namespace seekable::erofs
