// A tree that grows entry by entry; a later entry replaces an earlier one of the same name.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "erofs/tree.h"
#include "layer/name_index.h"

namespace seekable::layer {

// What is known of an inode beyond the inode itself.
struct Note {
  bool has_entry = false;    // the tar has an entry for it: neither an implied directory nor a whiteout
  bool opaque = false;       // directories: hides what the layers below have at its path
  uint16_t path_length = 0;  // directories: bytes of the path, "" for the root
};

// A name that this layer hides in the layers below.
struct Whiteout {
  erofs::InodeId directory;
  std::string name;
  auto operator<=>(const Whiteout&) const = default;
};

// A tree whose entries are all in, but where the order of names, whiteouts, link counts, the epoch and the
// times of inodes without an entry are still open: they depend on entries that come later.
struct Draft {
  erofs::Tree tree;
  std::vector<Note> notes;  // of tree.inodes
  std::vector<Whiteout> whiteouts;
};

// Paths are clean (path.h). Errors are kRefused and leave `what` to the caller, who knows the entry.
class TreeBuilder {
 public:
  struct Found {
    erofs::InodeId directory;
    erofs::InodeId inode;
  };

  // Begins with an implied root.
  TreeBuilder();

  // The directory at `path`, symbolic links followed inside the root; made if it is missing, parents too.
  Result<erofs::InodeId> directory_at(std::string_view path);
  // What has the name `path`; links are followed in all components but the last. nullopt if nothing.
  // REQUIRES: not the root.
  Result<std::optional<Found>> find(std::string_view path) const;
  // The inode called `name` in `directory`, if any.
  std::optional<erofs::InodeId> child(erofs::InodeId directory, std::string_view name) const;

  // Adds a new inode under `name`, in place of whatever had that name; a directory is empty. What the inode
  // has beyond itself is in tree() already.
  Status add(erofs::InodeId directory, std::string_view name, erofs::Inode inode);
  // Gives an inode a further name, in place of whatever had it.
  Status link(erofs::InodeId directory, std::string_view name, erofs::InodeId inode);
  // Records that `name` is hidden in the layers below.
  Status hide(erofs::InodeId directory, std::string_view name);
  void make_opaque(erofs::InodeId directory) { draft_.notes[directory].opaque = true; }
  void mark_has_entry(erofs::InodeId inode) { draft_.notes[inode].has_entry = true; }

  erofs::Tree& tree() { return draft_.tree; }
  const erofs::Tree& tree() const { return draft_.tree; }
  erofs::Inode& inode(erofs::InodeId id) { return draft_.tree.inodes[id]; }
  const erofs::Inode& inode(erofs::InodeId id) const { return draft_.tree.inodes[id]; }
  Draft take() && { return std::move(draft_); }

 private:
  size_t path_length(erofs::InodeId directory, std::string_view name) const;
  Status check_name(erofs::InodeId directory, std::string_view name) const;
  Result<erofs::InodeId> imply_directory(erofs::InodeId parent, std::string_view name);
  erofs::InodeId append(erofs::InodeId directory, std::string_view name, erofs::Inode inode, bool has_entry);
  void set_name(erofs::InodeId directory, std::string_view name, erofs::InodeId inode);
  std::optional<uint32_t> name_number(erofs::InodeId directory, std::string_view name) const;

  std::optional<erofs::InodeId> known_directory(std::string_view path) const;
  void remember(std::string_view path, erofs::InodeId directory);

  struct PathHash {
    using is_transparent = void;
    size_t operator()(std::string_view path) const { return std::hash<std::string_view>()(path); }
  };

  Draft draft_;
  NameIndex index_;  // of draft_.tree.names
  // Where paths without links led lately: walking them takes longer than all else of an entry.
  std::unordered_map<std::string, erofs::InodeId, PathHash, std::equal_to<>> directories_;
};

}  // namespace seekable::layer
