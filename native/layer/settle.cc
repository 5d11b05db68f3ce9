#include "layer/settle.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/checked.h"
#include "layer/warnings.h"

namespace seekable::layer {
namespace {

using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;

// 12 bytes of header and at most 65534 units of 4, see docs/format/erofs-on-disk.md.
constexpr uint64_t kMaxXattrBody = 262148;
constexpr uint64_t kXattrHeader = 12;

erofs::Xattrs& xattrs_of(Inode& inode) {
  if (!inode.xattrs) inode.xattrs = std::make_unique<erofs::Xattrs>();
  return *inode.xattrs;
}

// An entry beats the whiteout of its name. A directory then still hides the one below, which it would be
// merged with otherwise; everything else hides what is below anyhow.
void place_whiteouts(Draft& draft) {
  auto& inodes = draft.tree.inodes;
  for (const Whiteout& whiteout : draft.whiteouts) {
    const auto [at, added] = inodes[whiteout.directory].directory->entries.try_emplace(
        whiteout.name, static_cast<InodeId>(inodes.size()));
    if (!added) {
      if (inodes[at->second].directory) draft.notes[at->second].opaque = true;
      continue;
    }
    // Makes overlayfs look for whiteouts in this directory even if no layer below has it.
    xattrs_of(inodes[whiteout.directory]).try_emplace("trusted.overlay.origin");
    inodes.emplace_back().mode = S_IFCHR;
    draft.notes.emplace_back();
  }
}

void mark_opaque_directories(Draft& draft) {
  for (size_t id = 0; id < draft.notes.size(); ++id) {
    if (draft.notes[id].opaque) xattrs_of(draft.tree.inodes[id])["trusted.overlay.opaque"] = "y";
  }
}

// What overlayfs would read as "hides what is below", wherever it comes from: of the bottom layer it means
// nothing.
void drop_whiteouts(Tree& tree) {
  const auto is_whiteout = [&](const auto& entry) {
    const Inode& inode = tree.inodes[entry.second];
    return S_ISCHR(inode.mode) && inode.rdev_major == 0 && inode.rdev_minor == 0;
  };
  for (Inode& inode : tree.inodes) {
    if (inode.directory) std::erase_if(inode.directory->entries, is_whiteout);
    if (inode.xattrs) inode.xattrs->erase("trusted.overlay.opaque");
    if (inode.xattrs && inode.xattrs->empty()) inode.xattrs.reset();
  }
}

// Names count as links from here on; replaced inodes end with none.
void count_links(Tree& tree) {
  for (Inode& inode : tree.inodes) inode.nlink = 0;
  std::vector<InodeId> todo{Tree::kRoot};
  tree.inodes[Tree::kRoot].nlink = 2;
  while (!todo.empty()) {
    Inode& directory = tree.inodes[todo.back()];
    todo.pop_back();
    for (const auto& [name, id] : directory.directory->entries) {
      Inode& inode = tree.inodes[id];
      if (!inode.directory) {
        ++inode.nlink;
        continue;
      }
      inode.nlink = 2;
      ++directory.nlink;
      todo.push_back(id);
    }
  }
}

// The name of `id` in `directory`; "" if it has none there.
std::string name_in(const Tree& tree, InodeId directory, InodeId id) {
  for (const auto& [name, child] : tree.inodes[directory].directory->entries) {
    if (child == id) return name;
  }
  return {};
}

// A path of an inode that has one. Slow: for errors.
std::string path_of(const Tree& tree, InodeId id) {
  std::string path;
  if (!tree.inodes[id].directory) {
    InodeId directory = Tree::kRoot;
    for (InodeId candidate = 0; candidate < tree.inodes.size() && path.empty(); ++candidate) {
      if (tree.inodes[candidate].nlink == 0 || !tree.inodes[candidate].directory) continue;
      path = name_in(tree, candidate, id);
      directory = candidate;
    }
    id = directory;
  }
  for (InodeId parent; id != Tree::kRoot; id = parent) {
    parent = tree.inodes[id].directory->parent;
    path = name_in(tree, parent, id) + (path.empty() ? "" : "/") + path;
  }
  return path.empty() ? "/" : path;
}

Status check_xattr_sizes(const Tree& tree) {
  for (InodeId id = 0; id < tree.inodes.size(); ++id) {
    const Inode& inode = tree.inodes[id];
    if (inode.nlink == 0 || !inode.xattrs) continue;
    uint64_t body = kXattrHeader;
    // 4 bytes of entry header; counting a name's prefix, which EROFS doesn't store, leaves a little unused.
    for (const auto& [name, value] : *inode.xattrs) body += round_up(4 + name.size() + value.size(), 4);
    if (body > kMaxXattrBody) {
      return refused(
          entry_label(path_of(tree, id)),
          "xattrs of " + std::to_string(body) + " bytes; at most " + std::to_string(kMaxXattrBody) + " fit");
    }
  }
  return ok();
}

// The most common value, the smallest of equals; 0 if there is none.
int64_t most_common(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  int64_t best = 0;
  size_t best_count = 0;
  for (auto run = values.begin(); run != values.end();) {
    const auto end = std::find_if(run, values.end(), [&](int64_t value) { return value != *run; });
    if (static_cast<size_t>(end - run) > best_count) {
      best = *run;
      best_count = static_cast<size_t>(end - run);
    }
    run = end;
  }
  return best;
}

void set_epoch(Draft& draft) {
  auto& inodes = draft.tree.inodes;
  std::vector<int64_t> times;
  for (size_t id = 0; id < inodes.size(); ++id) {
    if (draft.notes[id].has_entry && inodes[id].nlink != 0) times.push_back(inodes[id].mtime);
  }
  draft.tree.epoch = most_common(std::move(times));
  for (size_t id = 0; id < inodes.size(); ++id) {
    if (!draft.notes[id].has_entry) inodes[id].mtime = draft.tree.epoch;
  }
}

}  // namespace

Result<Tree> settle(Draft draft, const TreeOptions& options) {
  if (options.bottom_layer) {
    drop_whiteouts(draft.tree);
  } else {
    place_whiteouts(draft);
    mark_opaque_directories(draft);
  }
  count_links(draft.tree);
  TRY(check_xattr_sizes(draft.tree));
  set_epoch(draft);
  return std::move(draft.tree);
}

}  // namespace seekable::layer
