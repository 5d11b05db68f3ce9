#include "binding/tree_parcel.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string_view>

#include "binding/convert.h"
#include "binding/source.h"

namespace seekable::binding {

namespace {

using sys::TreeEntry;

template <typename Integer>
Integer integer_of(double number) {
  // The nearest one: times come from images, which may say anything.
  constexpr double kLeast = static_cast<double>(std::numeric_limits<Integer>::min());
  constexpr double kMax = static_cast<double>(std::numeric_limits<Integer>::max());
  if (!(number > kLeast)) return std::numeric_limits<Integer>::min();
  return number >= kMax ? std::numeric_limits<Integer>::max() : static_cast<Integer>(number);
}

}  // namespace

// Takes the columns apart, in the order in which they were filled.
class TreeParcel::ColumnReader {
 public:
  ColumnReader(std::span<const double> numbers, std::string_view text) : numbers_(numbers), text_(text) {}

  bool at_end() const { return numbers_.empty(); }
  bool has_failed() const { return failed_; }

  template <typename Integer = uint32_t>
  Integer number() {
    if (numbers_.empty()) failed_ = true;
    if (failed_) return 0;
    const double number = numbers_.front();
    numbers_ = numbers_.subspan(1);
    return integer_of<Integer>(number);
  }

  std::string text(uint32_t length) {
    if (length > text_.size()) failed_ = true;
    if (failed_) return {};
    const std::string text(text_.substr(0, length));
    text_.remove_prefix(length);
    return text;
  }

 private:
  std::span<const double> numbers_;
  std::string_view text_;
  bool failed_ = false;
};

namespace {

Error contradiction() { return usage("tree parcel", "its columns contradict each other"); }

}  // namespace

void TreeParcel::read_attributes(ColumnReader& columns, TreeEntry& entry) {
  entry.kind = static_cast<TreeEntry::Kind>(columns.number());
  const auto path_length = columns.number();
  const auto target_length = columns.number();
  entry.path = columns.text(path_length);
  entry.target = columns.text(target_length);
  entry.mode = columns.number();
  entry.uid = columns.number();
  entry.gid = columns.number();
  entry.seconds = columns.number<int64_t>();
  entry.nanoseconds = columns.number();
  entry.major = columns.number();
  entry.minor = columns.number();
  entry.size = columns.number<uint64_t>();
  entry.begins = columns.number() != 0;
  entry.ends = columns.number() != 0;
}

TreeEntry::Xattr TreeParcel::read_xattr(ColumnReader& columns) {
  const auto name_length = columns.number();
  const auto value_length = columns.number();
  std::string name = columns.text(name_length);
  return {std::move(name), columns.text(value_length)};
}

// Sources count from 0 up, buffers from -1 down.
Result<TreeEntry::Piece> TreeParcel::read_piece(ColumnReader& columns) const {
  TreeEntry::Piece piece;
  const auto from = columns.number<int64_t>();
  const auto index = static_cast<uint64_t>(from < 0 ? -1 - from : from);
  if (index >= (from < 0 ? buffers_.size() : sources_.size())) return contradiction();
  piece.offset = columns.number<uint64_t>();
  piece.address = columns.number<uint64_t>();
  const auto length = columns.number<uint64_t>();
  if (from < 0) {
    piece.bytes = buffers_[index];
  } else {
    piece.source = sources_[index];
    piece.length = length;
  }
  return piece;
}

TreeParcel::TreeParcel(const Napi::Object& parcel) {
  const auto sources = parcel.Get("sources").As<Napi::Array>();
  for (uint32_t i = 0; i < sources.Length(); ++i) sources_.push_back(SourceHandle::of(sources[i]));
  const auto buffers = parcel.Get("buffers").As<Napi::Array>();
  for (uint32_t i = 0; i < buffers.Length(); ++i) buffers_.push_back(copy(buffers[i]));
  text_ = as_text(view(parcel.Get("text")));
  const auto numbers = parcel.Get("numbers").As<Napi::Float64Array>();
  numbers_.assign(numbers.Data(), numbers.Data() + numbers.ElementLength());
}

Result<std::vector<TreeEntry>> TreeParcel::entries() const {
  std::vector<TreeEntry> entries;
  ColumnReader columns(numbers_, text_);
  while (!columns.at_end()) {
    TreeEntry& entry = entries.emplace_back();
    read_attributes(columns, entry);
    for (auto left = columns.number(); left > 0 && !columns.has_failed(); --left) {
      entry.xattrs.push_back(read_xattr(columns));
    }
    for (auto left = columns.number(); left > 0 && !columns.has_failed(); --left) {
      entry.pieces.push_back(TRY(read_piece(columns)));
    }
    if (columns.has_failed()) return contradiction();
  }
  return entries;
}

}  // namespace seekable::binding
