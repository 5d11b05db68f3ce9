#include "layer/finish_tree.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/checked.h"
#include "erofs/format.h"
#include "layer/warnings.h"

namespace seekable::layer {
namespace {

using erofs::DirectoryId;
using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;

bool is_directory(const Inode& inode) { return S_ISDIR(inode.mode); }

void make_whiteout(Draft& draft, const Whiteout& whiteout) {
  Tree& tree = draft.tree;
  Inode& directory = tree.inodes[whiteout.directory];
  // Makes overlayfs look for whiteouts in this directory even if no layer below has it.
  tree.make_xattrs(directory).try_emplace("trusted.overlay.origin");
  tree.names.push_back({tree.texts.add(whiteout.name), static_cast<DirectoryId>(directory.content),
                        static_cast<InodeId>(tree.inodes.size())});
  Inode& inode = tree.inodes.emplace_back();
  inode.mode = S_IFCHR;
  tree.set_device(inode, {0, 0});
  draft.notes.emplace_back();
}

// An entry beats the whiteout of its name. A directory then still hides the one below, which it would be
// merged with otherwise; everything else hides what is below anyhow.
void place_whiteouts(Draft& draft) {
  Tree& tree = draft.tree;
  std::sort(draft.whiteouts.begin(), draft.whiteouts.end());
  draft.whiteouts.erase(std::unique(draft.whiteouts.begin(), draft.whiteouts.end()), draft.whiteouts.end());
  for (const Whiteout& whiteout : draft.whiteouts) {
    const auto entry = tree.child(whiteout.directory, whiteout.name);
    if (!entry) {
      make_whiteout(draft, whiteout);
    } else if (is_directory(tree.inodes[*entry])) {
      draft.notes[*entry].opaque = true;
    }
  }
  if (!draft.whiteouts.empty()) tree.sort_names();
}

void mark_opaque_directories(Draft& draft) {
  for (size_t id = 0; id < draft.notes.size(); ++id) {
    if (draft.notes[id].opaque) draft.tree.make_xattrs(draft.tree.inodes[id])["trusted.overlay.opaque"] = "y";
  }
}

// What overlayfs would read as "hides what is below", wherever it comes from: of the bottom layer it means
// nothing.
void drop_whiteouts(Tree& tree) {
  std::erase_if(tree.names, [&](const erofs::Name& name) {
    const Inode& inode = tree.inodes[name.inode];
    return S_ISCHR(inode.mode) && tree.device(inode).major == 0 && tree.device(inode).minor == 0;
  });
  for (Inode& inode : tree.inodes) {
    if (inode.xattrs == Inode::kNoXattrs) continue;
    erofs::Xattrs& xattrs = tree.xattrs[inode.xattrs];
    xattrs.erase("trusted.overlay.opaque");
    if (xattrs.empty()) inode.xattrs = Inode::kNoXattrs;
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
    for (const erofs::Name& name : tree.names_in(tree.directory(directory))) {
      Inode& inode = tree.inodes[name.inode];
      if (!is_directory(inode)) {
        ++inode.nlink;
        continue;
      }
      inode.nlink = 2;
      ++directory.nlink;
      todo.push_back(name.inode);
    }
  }
}

Status check_xattr_sizes(const Tree& tree) {
  for (InodeId id = 0; id < tree.inodes.size(); ++id) {
    const Inode& inode = tree.inodes[id];
    if (inode.nlink == 0 || inode.xattrs == Inode::kNoXattrs) continue;
    uint64_t body = sizeof(erofs::XattrHeader);
    // Counting a name's prefix, which EROFS doesn't store, leaves a little unused.
    for (const auto& [name, value] : *tree.xattrs_of(inode))
      body += round_up(sizeof(erofs::XattrEntry) + name.size() + value.size(), erofs::kXattrUnit);
    if (body > erofs::kMaxXattrBody) {
      const std::string path = tree.path_of(id);
      return refused(entry_label(path.empty() ? "/" : path),
                     "xattrs of " + std::to_string(body) + " bytes; at most " +
                         std::to_string(erofs::kMaxXattrBody) + " fit");
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

Result<Tree> finish_tree(Draft draft, const TreeOptions& options) {
  if (options.bottom_layer) drop_whiteouts(draft.tree);
  draft.tree.sort_names();
  if (!options.bottom_layer) {
    place_whiteouts(draft);
    mark_opaque_directories(draft);
  }
  count_links(draft.tree);
  TRY(check_xattr_sizes(draft.tree));
  set_epoch(draft);
  return std::move(draft.tree);
}

}  // namespace seekable::layer
