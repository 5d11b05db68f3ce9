#include "tar/metadata_reader.h"

#include <algorithm>

namespace seekable::tar {

Result<Bytes> MetadataReader::view(uint64_t offset, size_t length) {
  const bool buffered = offset >= buffer_offset_ && offset - buffer_offset_ <= buffer_length_ &&
                        length <= buffer_length_ - (offset - buffer_offset_);
  if (!buffered) TRY(fill(offset));
  return Bytes(buffer_).subspan(static_cast<size_t>(offset - buffer_offset_), length);
}

Status MetadataReader::fill(uint64_t offset) {
  buffer_length_ = 0;  // stays so if the read fails
  auto length = static_cast<size_t>(std::min<uint64_t>(kReadAhead, size_ - offset));
  if (!source_.read_cached(offset, MutableBytes(buffer_).first(length))) {
    length = static_cast<size_t>(std::min<uint64_t>(kReadAheadOnDisk, size_ - offset));
    if (buffer_.size() < length) buffer_.resize(length);
    TRY(source_.read_at(offset, MutableBytes(buffer_).first(length)));
  }
  buffer_offset_ = offset;
  buffer_length_ = length;
  return ok();
}

Result<std::string> MetadataReader::copy(uint64_t offset, size_t length) {
  if (length <= kReadAhead) return std::string(as_text(TRY(view(offset, length))));
  std::string text(length, '\0');
  TRY(source_.read_at(offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  return text;
}

}  // namespace seekable::tar
