#include "tar/metadata_reader.h"

#include <algorithm>

namespace seekable::tar {

Result<Bytes> MetadataReader::view(uint64_t offset, size_t length) {
  const bool is_buffered = offset >= buffer_offset_ && offset - buffer_offset_ <= buffered_.size() &&
                           length <= buffered_.size() - (offset - buffer_offset_);
  if (!is_buffered) TRY(fill(offset));
  return buffered_.subspan(static_cast<size_t>(offset - buffer_offset_), length);
}

Status MetadataReader::fill(uint64_t offset) {
  read_ahead_ = read_ahead_at(offset);
  buffered_ = {};  // stays so if the read fails
  const MutableBytes pages = MutableBytes(pages_).first(std::min<uint64_t>(read_ahead_, size_ - offset));
  buffered_ = source_.read_cached(offset, pages) ? pages : TRY(read_from_disk(offset));
  buffer_offset_ = offset;
  return ok();
}

size_t MetadataReader::read_ahead_at(uint64_t offset) const {
  const uint64_t end = buffer_offset_ + buffered_.size();
  const bool follows = !buffered_.empty() && offset + kReadAhead > end && offset < end + kReadAhead;
  return follows ? std::min(2 * read_ahead_, kMaxReadAhead) : kReadAhead;
}

Result<MutableBytes> MetadataReader::read_from_disk(uint64_t offset) {
  if (large_.size() == 0) large_ = TRY(Buffer::allocate(std::min<uint64_t>(kReadAheadOnDisk, size_)));
  const MutableBytes piece = large_.first(std::min<uint64_t>(large_.size(), size_ - offset));
  TRY(source_.read_at(offset, piece));
  return piece;
}

Result<std::string> MetadataReader::copy(uint64_t offset, size_t length) {
  if (length <= kReadAhead) return std::string(as_text(TRY(view(offset, length))));
  std::string text(length, '\0');
  TRY(source_.read_at(offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  return text;
}

}  // namespace seekable::tar
