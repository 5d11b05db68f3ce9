#include "layer/warnings.h"

#include "base/text.h"
#include "layer/path.h"

namespace seekable::layer {
namespace {
constexpr size_t kKept = 20;
constexpr size_t kMaxQuoted = kMaxPath;
}  // namespace

void Warnings::add(std::string_view entry, std::string_view text) {
  if (lines_.size() == kKept) {
    ++left_out_;
    return;
  }
  lines_.push_back(entry_label(entry) + ": " + std::string(text));
}

void Warnings::append_to(std::vector<std::string>& lines) const {
  lines.insert(lines.end(), lines_.begin(), lines_.end());
  if (left_out_ != 0) lines.push_back(std::to_string(left_out_) + " more warnings about entries");
}

std::string quoted(std::string_view raw) {
  if (raw.size() <= kMaxQuoted) return printable(raw);
  return printable(raw.substr(0, kMaxQuoted)) + "... (" + std::to_string(raw.size()) + " bytes)";
}

std::string entry_label(std::string_view name) { return name.empty() ? "entry ''" : "entry " + quoted(name); }

}  // namespace seekable::layer
