#include "layer/whiteout.h"

#include "layer/path.h"
#include "layer/warnings.h"

namespace seekable::layer {
namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kBookkeepingPrefix = ".wh..wh.";
constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";

bool is_bookkeeping(std::string_view name) {
  return name.starts_with(kBookkeepingPrefix) && name != kOpaqueMarker;
}

// Bookkeeping decides wherever it is; else any whiteout is an error.
Result<bool> leads_through_bookkeeping(std::string_view parent) {
  std::string_view whiteout;
  while (!parent.empty()) {
    const std::string_view name = next_component(parent);
    if (is_bookkeeping(name)) return true;
    if (is_reserved(name)) whiteout = name;
  }
  if (whiteout.empty()) return false;
  return refused({}, "leads through the whiteout " + quoted(whiteout) + ", which can't be a directory");
}

}  // namespace

bool is_reserved(std::string_view name) { return name.starts_with(kWhiteoutPrefix); }

Result<LayerName> read_layer_name(std::string_view path) {
  const std::string_view name = name_of(path);
  if (is_bookkeeping(name)) return LayerName{NameKind::kBookkeeping, name};
  // Most paths have no such component at all.
  if (path.find(kWhiteoutPrefix) == std::string_view::npos) return LayerName{NameKind::kPlain, name};
  if (TRY(leads_through_bookkeeping(parent_of(path)))) return LayerName{NameKind::kBookkeeping, name};
  if (name == kOpaqueMarker) return LayerName{NameKind::kOpaque, name};
  if (!is_reserved(name)) return LayerName{NameKind::kPlain, name};

  const std::string_view hidden = name.substr(kWhiteoutPrefix.size());
  if (hidden.empty() || hidden == "." || hidden == "..") return refused({}, "a whiteout of no name");
  return LayerName{NameKind::kWhiteout, hidden};
}

}  // namespace seekable::layer
