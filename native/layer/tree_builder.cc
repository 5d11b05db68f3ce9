#include "layer/tree_builder.h"

#include <sys/stat.h>

#include "erofs/format.h"
#include "layer/path.h"
#include "layer/resolve.h"
#include "layer/warnings.h"
#include "layer/whiteout.h"

namespace seekable::layer {

using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;

namespace {

constexpr size_t kMaxNames = UINT32_MAX - 1;   // inodes and names are counted in 32 bits
constexpr size_t kMaxKnownDirectories = 4096;  // bounds memory: paths have up to 4095 bytes

Inode implied_directory() {
  Inode inode;
  inode.mode = S_IFDIR | 0755;
  return inode;
}

erofs::DirectoryId directory_id(const Tree& tree, InodeId directory) {
  return static_cast<erofs::DirectoryId>(tree.inodes[directory].content);
}

}  // namespace

TreeBuilder::TreeBuilder() {
  draft_.tree.set_directory(draft_.tree.inodes.emplace_back(implied_directory()), Tree::kRoot);
  draft_.notes.emplace_back();
}

Result<InodeId> TreeBuilder::directory_at(std::string_view path) {
  if (const auto known = known_directory(path)) return *known;
  const Place place = TRY(resolve(*this, path));
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
  if (directories_.size() == kMaxKnownDirectories) directories_.clear();
  directories_.emplace(path, directory);
}

Result<std::optional<TreeBuilder::Found>> TreeBuilder::find(std::string_view path) const {
  const std::string_view parent = parent_of(path);
  auto directory = known_directory(parent);
  if (!directory) {
    const Place place = TRY(resolve(*this, parent));
    if (!place.missing.empty()) return std::optional<Found>();
    directory = place.directory;
  }
  const auto inode = child(*directory, name_of(path));
  return inode ? std::optional<Found>({*directory, *inode}) : std::nullopt;
}

std::optional<InodeId> TreeBuilder::child(InodeId directory, std::string_view name) const {
  const auto number = name_number(directory, name);
  return number ? std::optional(draft_.tree.names[*number].inode) : std::nullopt;
}

std::optional<uint32_t> TreeBuilder::name_number(InodeId directory, std::string_view name) const {
  return index_.find(draft_.tree.names, directory_id(draft_.tree, directory), name);
}

Status TreeBuilder::add(InodeId directory, std::string_view name, Inode inode) {
  TRY(check_name(directory, name));
  append(directory, name, inode, /*has_entry=*/true);
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
  if (draft_.tree.names.size() >= kMaxNames) return refused({}, "too many entries");
  if (name.size() > erofs::kMaxNameLength) {
    return refused({}, "a name of " + std::to_string(name.size()) + " bytes; at most " +
                           std::to_string(erofs::kMaxNameLength) + " fit");
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
  if (S_ISDIR(inode.mode)) {
    draft_.tree.set_directory(inode, directory);
    note.path_length = static_cast<uint16_t>(path_length(directory, name));
  }
  draft_.tree.inodes.push_back(inode);
  draft_.notes.push_back(note);
  set_name(directory, name, id);
  return id;
}

void TreeBuilder::set_name(InodeId directory, std::string_view name, InodeId inode) {
  Tree& tree = draft_.tree;
  const auto number = name_number(directory, name);
  if (!number) {
    tree.names.push_back({tree.texts.add(name), directory_id(tree, directory), inode});
    index_.add(tree.names);
    return;
  }
  erofs::Name& replaced = tree.names[*number];
  // Known paths may have led through the replaced one.
  if (S_ISDIR(tree.inodes[replaced.inode].mode)) directories_.clear();
  replaced.inode = inode;
}

}  // namespace seekable::layer
