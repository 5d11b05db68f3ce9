#include "layer/tar_to_tree.h"

#include <sys/stat.h>

#include "layer/entry_inode.h"
#include "layer/finish_tree.h"
#include "layer/path.h"
#include "layer/tree_builder.h"
#include "layer/warnings.h"
#include "layer/whiteout.h"
#include "tar/read_ahead.h"
#include "tar/reader.h"

namespace seekable::layer {
namespace {

using erofs::InodeId;
using tar::Entry;
using tar::EntryType;

constexpr uint64_t kWorthAThread = 4 << 20;

// Puts entries into the tree. Errors leave `what` to the caller, who names the entry.
class Layer {
 public:
  Status add(Entry& entry) {
    if (entry.name.empty()) return refused({}, "an empty name");
    const CleanPath path = clean_path(entry.name);
    if (path.absolute) note_absolute(entry.name);
    if (path.clamped) warnings_.add(entry.name, "leads out of the root; taken as " + quoted("/" + path.text));
    if (path.text.empty()) return add_root(entry);

    const LayerName name = TRY(read_layer_name(path.text));
    if (name.kind == NameKind::kBookkeeping) {
      warnings_.add(entry.name, "dropped: AUFS's own bookkeeping, not part of the layer");
      return ok();
    }
    const std::string_view parent = parent_of(path.text);
    if (name.kind == NameKind::kOpaque) return add_opaque(parent);
    TRY(check_length(parent, name.name));
    if (name.kind == NameKind::kWhiteout) return note_whiteout(parent, name.name);
    if (entry.type == EntryType::kHardLink) return add_hard_link(parent, name.name, entry);
    if (entry.type == EntryType::kDirectory) return add_directory(parent, name.name, entry);
    return add_other(parent, name.name, entry);
  }

  void append_warnings_to(std::vector<std::string>& lines) const {
    warnings_.append_to(lines);
    if (absolute_names_ == 0) return;
    const std::string others =
        absolute_names_ > 1 ? ", like " + std::to_string(absolute_names_ - 1) + " more" : "";
    lines.push_back(entry_label(first_absolute_name_) + ": is absolute" + others +
                    "; taken from the image's root");
  }
  Draft take() && { return std::move(tree_).take(); }

 private:
  // Tars that have one absolute name have only such: one warning will do.
  void note_absolute(const std::string& name) {
    if (absolute_names_++ == 0) first_absolute_name_ = name;
  }

  static Status check_length(std::string_view parent, std::string_view name) {
    const size_t length = parent.size() + (parent.empty() ? 0 : 1) + name.size();
    if (length <= kMaxPath) return ok();
    return refused({}, "a path of " + std::to_string(length) + " bytes; at most 4095 fit");
  }

  Status add_root(Entry& entry) {
    if (entry.type != EntryType::kDirectory)
      return refused({}, "names the root, which can only be a directory");
    return update_directory(erofs::Tree::kRoot, entry);
  }

  Status add_opaque(std::string_view parent) {
    tree_.make_opaque(TRY(tree_.directory_at(parent)));
    return ok();
  }

  Status note_whiteout(std::string_view parent, std::string_view name) {
    return tree_.hide(TRY(tree_.directory_at(parent)), name);
  }

  Status add_directory(std::string_view parent, std::string_view name, Entry& entry) {
    const InodeId directory = TRY(tree_.directory_at(parent));
    const auto old = tree_.child(directory, name);
    if (old && S_ISDIR(tree_.inode(*old).mode)) return update_directory(*old, entry);
    return tree_.add(directory, name, TRY(make_inode(entry, tree_.tree(), warnings_)));
  }

  Status update_directory(InodeId directory, Entry& entry) {
    tree_.mark_has_entry(directory);
    return apply_metadata(entry, tree_.tree(), warnings_, tree_.inode(directory));
  }

  Status add_other(std::string_view parent, std::string_view name, Entry& entry) {
    return tree_.add(TRY(tree_.directory_at(parent)), name, TRY(make_inode(entry, tree_.tree(), warnings_)));
  }

  Status add_hard_link(std::string_view parent, std::string_view name, Entry& entry) {
    const TreeBuilder::Found target = TRY(link_target(entry));
    const InodeId directory = TRY(tree_.directory_at(parent));
    if (directory == target.directory && name == name_of(clean_path(entry.target).text)) return ok();
    erofs::Inode& inode = tree_.inode(target.inode);
    if (metadata_differs(entry, inode)) {
      warnings_.add(entry.name,
                    "hard link to " + quoted(entry.target) +
                        " with other mode, owner or time; as in a container, the link's are taken");
    }
    TRY(apply_metadata(entry, tree_.tree(), warnings_, inode));
    return tree_.link(directory, name, target.inode);
  }

  Result<TreeBuilder::Found> link_target(const Entry& entry) {
    const auto refuse = [&entry](std::string_view why) {
      return refused({}, "a hard link to '" + quoted(entry.target) + "'" + std::string(why));
    };
    const CleanPath path = clean_path(entry.target);
    if (path.text.empty()) return refuse(", which is the root");
    const auto found = tree_.find(path.text);
    if (!found.ok()) return refuse(": " + found.error().why);
    if (!found.value()) return refuse(missing_reason(path.text));
    if (S_ISDIR(tree_.inode(found.value()->inode).mode)) return refuse(", which is a directory");
    return *found.value();
  }

  static const char* missing_reason(std::string_view target) {
    return is_reserved(name_of(target)) ? ", which is a whiteout"
                                        : ", which is no earlier entry of this layer";
  }

  TreeBuilder tree_;
  Warnings warnings_;
  uint64_t absolute_names_ = 0;
  std::string first_absolute_name_;
};

// Counts the bytes of the tar up to the end of the last entry's data.
class Progress {
 public:
  Progress(Job& job, uint64_t total) : job_(job) { job_.begin("plan", total); }

  void reach(const Entry& entry) {
    if (!entry.data.empty()) reach(entry.data.back().source_offset + entry.data.back().length);
  }
  void reach(uint64_t offset) {
    if (offset <= reached_) return;
    job_.advance(offset - reached_);
    reached_ = offset;
  }

 private:
  Job& job_;
  uint64_t reached_ = 0;
};

}  // namespace

Result<LayerTree> tar_to_tree(const ByteSource& tar, Job& job, const TreeOptions& options) {
  Progress progress(job, tar.size());
  tar::Reader reader(tar);
  std::optional<tar::ReadAhead> ahead;
  if (options.threads > 1 && tar.size() >= kWorthAThread) ahead.emplace(reader);
  Layer layer;

  // Entry by entry, the later one winning.
  while (true) {
    TRY(job.check());
    std::optional<Entry> entry = TRY(ahead ? ahead->next() : reader.next());
    if (!entry) break;
    progress.reach(*entry);
    Status added = layer.add(*entry);
    if (added.ok()) continue;
    Error error = std::move(added.error());
    error.what = entry_label(entry->name);
    return error;
  }
  progress.reach(tar.size());

  // What was tolerated, then what depends on the layer as a whole.
  std::vector<std::string> warnings = reader.warnings();
  layer.append_warnings_to(warnings);
  return LayerTree{TRY(finish_tree(std::move(layer).take(), options)), std::move(warnings)};
}

}  // namespace seekable::layer
