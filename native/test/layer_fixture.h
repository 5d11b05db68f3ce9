// A tar read as a layer, and short questions about what came of it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/io.h"
#include "layer/path.h"
#include "layer/tar_to_tree.h"
#include "test/tar_builder.h"
#include "test/tree_listing.h"

namespace seekable::test {

class ReadLayer {
 public:
  explicit ReadLayer(const TarBuilder& tar, const layer::TreeOptions& options = {})
      : bytes_(tar.bytes()), source_(as_bytes(bytes_)), result_(layer::tar_to_tree(source_, job_, options)) {}

  bool ok() const { return result_.ok(); }
  // "CODE WHAT: WHY", or "ok".
  std::string error() const {
    if (result_.ok()) return "ok";
    return std::string(code_name(result_.error().code)) + " " + result_.error().what + ": " +
           result_.error().why;
  }
  // One a line.
  std::string warnings() const {
    std::string text;
    if (!result_.ok()) return text;
    for (const std::string& line : result_.value().warnings) text += line + "\n";
    return text;
  }
  const erofs::Tree& tree() const { return result_.value().tree; }
  int64_t epoch() const { return tree().epoch; }

  // The inode at `path`, links not followed; null if there is none.
  const erofs::Inode* find(std::string_view path) const {
    if (!result_.ok()) return nullptr;
    erofs::InodeId id = erofs::Tree::kRoot;
    for (auto name = layer::next_component(path); !name.empty(); name = layer::next_component(path)) {
      if (!S_ISDIR(tree().inodes[id].mode)) return nullptr;
      const auto child = tree().child(id, name);
      if (!child) return nullptr;
      id = *child;
    }
    return &tree().inodes[id];
  }
  bool has(std::string_view path) const { return find(path) != nullptr; }
  // "dir 0755 0:0 1700000000.000000000 nlink 2 …", or "none".
  std::string line(std::string_view path) const {
    const std::string listing = result_.ok() ? list_tree(tree(), source_) : "";
    const std::string start = "\n/" + std::string(path) + ": ";
    const size_t at = ("\n" + listing).find(start);
    if (at == std::string::npos) return "none";
    return listing.substr(at + start.size() - 1, listing.find('\n', at) - at - start.size() + 1);
  }
  std::string content(std::string_view path) const {
    const erofs::Inode* inode = find(path);
    return inode == nullptr ? "none" : test::content(tree(), *inode, source_);
  }
  // Names in a directory, sorted, each followed by a space.
  std::string names(std::string_view path) const {
    const erofs::Inode* inode = find(path);
    if (inode == nullptr || !S_ISDIR(inode->mode)) return "no directory";
    std::string text;
    for (const erofs::Name& name : tree().names_in(tree().directory(*inode))) {
      text += std::string(name.text.view()) + " ";
    }
    return text;
  }
  // "NAME=VALUE " of each.
  std::string xattrs(std::string_view path) const {
    const erofs::Inode* inode = find(path);
    if (inode == nullptr) return "none";
    std::string text;
    const erofs::Xattrs* xattrs = tree().xattrs_of(*inode);
    if (xattrs == nullptr) return text;
    for (const auto& [name, value] : *xattrs) text += name + "=" + value + " ";
    return text;
  }

 private:
  std::string bytes_;
  MemorySource source_;
  Job job_;
  Result<layer::LayerTree> result_;
};

}  // namespace seekable::test
