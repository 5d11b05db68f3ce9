#include "fuse/folder_tree.h"

#include "fuse/protocol.h"

namespace seekable::fuse {

FolderTree::FolderTree() { folders_[kRootNode]; }

std::optional<FolderTree::Entry> FolderTree::find(uint64_t folder, std::string_view name) const {
  const auto at = folders_.find(folder);
  if (at == folders_.end()) return std::nullopt;
  const auto found = at->second.nodes.find(name);
  if (found == at->second.nodes.end()) return std::nullopt;
  return Entry{found->second, is_folder(found->second)};
}

Status FolderTree::add_file(uint64_t folder, const std::string& name, uint64_t node) {
  const auto at = folders_.find(folder);
  if (at == folders_.end()) return usage(name, "there is no folder for it");
  if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos)
    return usage("layer file", "it has no proper name");
  if (at->second.nodes.contains(name) || at->second.names.contains(node))
    return usage(name, "there is such a file already");
  at->second.nodes.emplace(name, node);
  at->second.names.emplace(node, name);
  return ok();
}

Status FolderTree::add_folder(uint64_t folder, const std::string& name, uint64_t node) {
  if (node <= kRootNode || is_folder(node)) return usage(name, "its node is taken, or out of range");
  TRY(add_file(folder, name, node));
  folders_[node];
  return ok();
}

void FolderTree::remove(uint64_t folder, std::string_view name) {
  const std::optional<Entry> entry = find(folder, name);
  if (!entry) return;
  Folder& parent = folders_.at(folder);
  parent.names.erase(entry->node);
  parent.nodes.erase(parent.nodes.find(name));
  if (!entry->is_folder) return;
  // As deep as JavaScript made it, which is a few levels.
  while (!folders_.at(entry->node).nodes.empty()) {
    const std::string inner = folders_.at(entry->node).nodes.begin()->first;
    remove(entry->node, inner);
  }
  folders_.erase(entry->node);
}

void FolderTree::remove_file(uint64_t node) {
  for (auto& [number, folder] : folders_) {
    const auto found = folder.names.find(node);
    if (found == folder.names.end()) continue;
    folder.nodes.erase(found->second);
    folder.names.erase(found);
  }
}

}  // namespace seekable::fuse
