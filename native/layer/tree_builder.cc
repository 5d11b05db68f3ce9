#include "layer/tree_builder.h"

#include <sys/stat.h>

#include "layer/path.h"
#include "layer/resolve.h"
#include "layer/warnings.h"
#include "layer/whiteout.h"

namespace seekable::layer {

using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;

namespace {

constexpr size_t kMostKnownDirectories = 4096;  // bounds memory: paths have up to 4095 bytes

Inode implied_directory() {
  Inode inode;
  inode.mode = S_IFDIR | 0755;
  inode.directory = std::make_unique<erofs::Directory>();
  return inode;
}

}  // namespace

TreeBuilder::TreeBuilder() {
  draft_.tree.inodes.push_back(implied_directory());
  draft_.notes.emplace_back();
}

Result<InodeId> TreeBuilder::directory_at(std::string_view path) {
  if (const auto known = known_directory(path)) return *known;
  const Place place = TRY(resolve(draft_.tree, path));
  InodeId directory = place.directory;
  for (const std::string& name : place.missing) directory = TRY(imply_directory(directory, name));
  // A link's target may lead elsewhere after the next entry; a path of directories only if one is replaced.
  if (!place.followed_links) remember(path, directory);
  return directory;
}

std::optional<InodeId> TreeBuilder::known_directory(std::string_view path) const {
  if (path.empty()) return Tree::kRoot;
  const auto known = directories_.find(path);
  return known == directories_.end() ? std::nullopt : std::optional(known->second);
}

void TreeBuilder::remember(std::string_view path, InodeId directory) {
  if (directories_.size() == kMostKnownDirectories) directories_.clear();
  directories_.emplace(path, directory);
}

Result<std::optional<TreeBuilder::Found>> TreeBuilder::find(std::string_view path) const {
  const std::string_view parent = parent_of(path);
  auto directory = known_directory(parent);
  if (!directory) {
    const Place place = TRY(resolve(draft_.tree, parent));
    if (!place.missing.empty()) return std::optional<Found>();
    directory = place.directory;
  }
  const auto inode = child(*directory, name_of(path));
  return inode ? std::optional<Found>({*directory, *inode}) : std::nullopt;
}

std::optional<InodeId> TreeBuilder::child(InodeId directory, std::string_view name) const {
  return find_child(draft_.tree, directory, name);
}

Status TreeBuilder::add(InodeId directory, std::string_view name, Inode inode) {
  TRY(check_name(directory, name));
  append(directory, name, std::move(inode), /*has_entry=*/true);
  return ok();
}

Status TreeBuilder::link(InodeId directory, std::string_view name, InodeId inode) {
  TRY(check_name(directory, name));
  set_name(directory, name, inode);
  return ok();
}

Status TreeBuilder::hide(InodeId directory, std::string_view name) {
  TRY(check_name(directory, name));
  draft_.whiteouts.push_back({directory, std::string(name)});
  return ok();
}

size_t TreeBuilder::path_length(InodeId directory, std::string_view name) const {
  return (directory == Tree::kRoot ? 0 : draft_.notes[directory].path_length + 1) + name.size();
}

// Symbolic links can make a path longer than the entry's name, so the real path is what counts.
Status TreeBuilder::check_name(InodeId directory, std::string_view name) const {
  if (name.size() > kMaxName) {
    return refused({}, "a name of " + std::to_string(name.size()) + " bytes; at most 255 fit");
  }
  const size_t length = path_length(directory, name);
  if (length > kMaxPath) {
    return refused({}, "a path of " + std::to_string(length) + " bytes; at most 4095 fit");
  }
  return ok();
}

Result<InodeId> TreeBuilder::imply_directory(InodeId parent, std::string_view name) {
  TRY(check_name(parent, name));
  // Names in paths were looked at before; this one is from the target of a link.
  if (is_reserved(name)) {
    return refused({}, "a symbolic link on its path leads to the whiteout " + quoted(name));
  }
  return append(parent, name, implied_directory(), /*has_entry=*/false);
}

InodeId TreeBuilder::append(InodeId directory, std::string_view name, Inode inode, bool has_entry) {
  const auto id = static_cast<InodeId>(draft_.tree.inodes.size());
  Note note{.has_entry = has_entry};
  if (inode.directory) {
    inode.directory->parent = directory;
    note.path_length = static_cast<uint16_t>(path_length(directory, name));
  }
  draft_.tree.inodes.push_back(std::move(inode));
  draft_.notes.push_back(note);
  set_name(directory, name, id);
  return id;
}

void TreeBuilder::set_name(InodeId directory, std::string_view name, InodeId inode) {
  auto& entries = draft_.tree.inodes[directory].directory->entries;
  const auto at = entries.lower_bound(name);
  if (at == entries.end() || at->first != name) {
    entries.emplace_hint(at, name, inode);
    return;
  }
  // Known paths may have led through the replaced one.
  if (draft_.tree.inodes[at->second].directory) directories_.clear();
  at->second = inode;
}

}  // namespace seekable::layer
