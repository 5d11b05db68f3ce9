#include "sys/piece_reader.h"

#include <algorithm>

namespace seekable::sys {

namespace {

// Small enough to stay in a core's cache between the read and the write.
constexpr size_t kWindow = 256 << 10;

}  // namespace

PieceReader::PieceReader(const std::vector<TreeEntry>& entries) {
  for (const TreeEntry& entry : entries) {
    for (const TreeEntry::Piece& piece : entry.pieces) pieces_.push_back(&piece);
  }
}

Status PieceReader::copy(const TreeEntry::Piece& piece, const File& target, Job& job) {
  const size_t index = next_++;
  if (piece.source == nullptr) {
    job.advance(piece.bytes.size());
    return target.write_at(piece.offset, piece.bytes);
  }
  uint64_t offset = piece.offset;
  const bool lent = TRY(piece.source->lend(piece.address, piece.length, [&](Bytes bytes) -> Status {
    TRY(job.check());
    TRY(target.write_at(offset, bytes));
    offset += bytes.size();
    job.advance(bytes.size());
    return ok();
  }));
  if (lent) return ok();
  if (piece.length > kWindow) return copy_long(piece, target, job);
  const bool is_there =
      source_ == piece.source.get() && piece.address >= start_ && piece.address + piece.length <= end_;
  if (!is_there) {
    if (window_.size() == 0) window_ = TRY(Buffer::allocate(kWindow));
    source_ = nullptr;
    start_ = piece.address;
    end_ = end_of_run(index);
    TRY(piece.source->read_at(start_, window_.first(end_ - start_)));
    source_ = piece.source.get();
  }
  job.advance(piece.length);
  return target.write_at(piece.offset, {window_.data() + (piece.address - start_), piece.length});
}

uint64_t PieceReader::end_of_run(size_t index) const {
  const TreeEntry::Piece& first = *pieces_[index];
  uint64_t end = first.address + first.length;
  for (size_t i = index + 1; i < pieces_.size(); ++i) {
    const TreeEntry::Piece& piece = *pieces_[i];
    const bool follows = piece.source == first.source && piece.address >= end && piece.length <= kWindow;
    if (!follows || piece.address - first.address > kWindow - piece.length) break;
    end = piece.address + piece.length;
  }
  return end;
}

Status PieceReader::copy_long(const TreeEntry::Piece& piece, const File& target, Job& job) {
  if (window_.size() == 0) window_ = TRY(Buffer::allocate(kWindow));
  source_ = nullptr;
  for (uint64_t done = 0; done < piece.length;) {
    TRY(job.check());
    const MutableBytes bytes = window_.first(std::min<uint64_t>(piece.length - done, kWindow));
    TRY(piece.source->read_at(piece.address + done, bytes));
    TRY(target.write_at(piece.offset + done, bytes));
    done += bytes.size();
    job.advance(bytes.size());
  }
  return ok();
}

}  // namespace seekable::sys
