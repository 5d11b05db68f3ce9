// Where the file data of an image comes from: what is behind the metadata, and all that is needed once that
// is written.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "erofs/small_reads.h"
#include "erofs/tree.h"

namespace seekable::erofs {

class DataMap {
 public:
  // `length` bytes of the image from `offset` on are those at `source_offset` of the source. In rising order.
  void add(uint64_t offset, uint64_t source_offset, uint64_t length) {
    runs_.push_back({offset, source_offset, length});
  }
  // The same for `length` bytes of a file from byte `from` of it on, as far as there are any.
  void add_file(const Tree& tree, const Inode& inode, uint64_t from, uint64_t length, uint64_t offset);
  // Offset in the image and length of each piece of a file that lies together, in turn, by rising offset.
  std::vector<uint64_t> file_pieces() const;
  // Fills `out` with the bytes of the image from `offset` on: zeros wherever no file's data is.
  Status read(const ByteSource& source, uint64_t offset, MutableBytes out) const;
  Status read(SmallReads& source, uint64_t offset, MutableBytes out) const;

 private:
  struct Run {
    uint64_t offset;
    uint64_t source_offset;
    uint64_t length;
    uint64_t end() const { return offset + length; }
  };
  std::vector<Run> runs_;
};

}  // namespace seekable::erofs
