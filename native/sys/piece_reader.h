// Pieces of files on their way from their sources.
#pragma once

#include <vector>

#include "base/buffer.h"
#include "base/error.h"
#include "base/job.h"
#include "sys/tree_entry.h"

namespace seekable::sys {

// Files lie one behind the other in an image: what the next pieces need is read together with the first.
class PieceReader {
 public:
  // `entries`, which outlive the reader, have the pieces in the order in which they will be copied.
  explicit PieceReader(const std::vector<TreeEntry>& entries);

  // Writes the piece to its place in `target`; the job counts its bytes. REQUIRES: the next piece of the
  // entries.
  Status copy(const TreeEntry::Piece& piece, const File& target, Job& job);

 private:
  // Where the bytes are that are worth reading together from the piece on.
  uint64_t end_of_run(size_t index) const;
  Status copy_long(const TreeEntry::Piece& piece, const File& target, Job& job);

  std::vector<const TreeEntry::Piece*> pieces_;
  size_t next_ = 0;
  // Bytes [start_, end_) of source_.
  const ByteSource* source_ = nullptr;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
  Buffer window_;
};

}  // namespace seekable::sys
