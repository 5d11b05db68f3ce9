#include "layer/resolve.h"

#include <sys/stat.h>

#include "layer/path.h"
#include "layer/warnings.h"

namespace seekable::layer {
namespace {

constexpr int kMaxLinks = 40;  // as Linux

class Walk {
 public:
  Walk(const TreeBuilder& tree, std::string_view path) : tree_(tree), rest_{path} {}

  Result<Place> to_end() {
    while (!rest_.empty()) {
      const std::string_view name = next_component(rest_.back());
      if (name.empty()) {
        rest_.pop_back();
      } else if (name == "..") {
        leave();
      } else if (name != ".") {
        TRY(enter(name));
      }
    }
    return std::move(at_);
  }

 private:
  void leave() {
    if (at_.missing.empty()) {
      at_.directory = tree_.tree().directory(tree_.inode(at_.directory)).parent;
    } else {
      at_.missing.pop_back();
    }
  }

  Status enter(std::string_view name) {
    const auto child = at_.missing.empty() ? tree_.child(at_.directory, name) : std::nullopt;
    if (!child) {
      at_.missing.emplace_back(name);
      return ok();
    }
    const erofs::Inode& inode = tree_.inode(*child);
    if (S_ISLNK(inode.mode)) return follow(tree_.tree().target(inode));
    if (!S_ISDIR(inode.mode)) return refused({}, "'" + quoted(name) + "' on its path is not a directory");
    at_.directory = *child;
    return ok();
  }

  Status follow(std::string_view target) {
    at_.followed_links = true;
    followed_bytes_ += target.size();
    if (++links_ > kMaxLinks || followed_bytes_ > kMaxPath) {
      return refused({}, "too many symbolic links on its path, perhaps a loop: " + std::to_string(links_) +
                             " with " + std::to_string(followed_bytes_) + " bytes of targets");
    }
    if (target.starts_with('/')) at_.directory = erofs::Tree::kRoot;
    rest_.push_back(target);
    return ok();
  }

  const TreeBuilder& tree_;
  Place at_;
  std::vector<std::string_view> rest_;  // what is still to walk, the innermost link's target last
  int links_ = 0;
  size_t followed_bytes_ = 0;
};

}  // namespace

Result<Place> resolve(const TreeBuilder& tree, std::string_view path) { return Walk(tree, path).to_end(); }

}  // namespace seekable::layer
