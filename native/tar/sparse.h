// The four ways in which GNU tar stores a file with holes: only its data, and a map of where that belongs.
// Described in GNU tar's manual, appendix "Storing Sparse Files": old GNU ('S' entries), PAX 0.0, 0.1
// and 1.0.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "tar/header.h"
#include "tar/metadata_reader.h"
#include "tar/pax.h"
#include "tar/reader.h"

namespace seekable::tar {

enum class SparseForm : uint8_t { kNone, kOldGnu, kPaxInHeader, kPaxInData };

// Which form an entry has. kRefused for forms that nobody documents, and for two at once.
Result<SparseForm> sparse_form(const Header& header, const PaxHeader& pax);

// A file as the tar stores it.
struct StoredFile {
  uint64_t size = 0;            // holes included
  std::vector<DataRange> data;  // as in Entry
  uint64_t end = 0;             // where the last of it ends in the source, before any padding
};

// Finds the data of a sparse file. `block` is its header block, `start` the offset of what follows that, and
// `stored_size` the entry's size (map and data, without holes). That the source holds the data isn't checked.
// REQUIRES: form isn't kNone, stored_size < 2^63. kCorrupt when the map can't be read or doesn't fit the
// stored size, kRefused when regions overlap, go backwards, pass the file's end or are more than kMaxRegions.
Result<StoredFile> locate_sparse(SparseForm form, Bytes block, const PaxHeader& pax, MetadataReader& metadata,
                                 uint64_t start, uint64_t stored_size);

// Bounds the memory that a hostile map takes, to some 24 MiB.
inline constexpr size_t kMaxRegions = size_t{1} << 20;

}  // namespace seekable::tar
