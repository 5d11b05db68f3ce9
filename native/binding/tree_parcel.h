// Entries on their way from JavaScript to a sys::TreeWriter: columns instead of objects, since there are
// many. src/image/extract/columns.ts is the other side.
#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "sys/tree_entry.h"

namespace seekable::binding {

class TreeParcel {
 public:
  // {numbers: Float64Array, text, sources, buffers}, copied: on JavaScript's thread.
  explicit TreeParcel(const Napi::Object& parcel);

  // On any thread, for as long as the parcel lives. kUsage when the columns contradict each other.
  Result<std::vector<sys::TreeEntry>> entries() const;

 private:
  class ColumnReader;

  static void read_attributes(ColumnReader& columns, sys::TreeEntry& entry);
  static sys::TreeEntry::Xattr read_xattr(ColumnReader& columns);
  Result<sys::TreeEntry::Piece> read_piece(ColumnReader& columns) const;

  std::vector<std::shared_ptr<const ByteSource>> sources_;
  std::vector<std::vector<uint8_t>> buffers_;
  std::vector<double> numbers_;
  std::string text_;
};

}  // namespace seekable::binding
