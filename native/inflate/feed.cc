#include "inflate/feed.h"

#include <algorithm>
#include <cstring>

namespace seekable::inflate {

Result<Feed> Feed::open(const ByteSource& source, Inflater::OnInput on_input, size_t block) {
  Buffer buffer = TRY(Buffer::allocate(kMargin + block + kMargin));
  std::memset(buffer.data(), 0, buffer.size());
  Feed feed(source, std::move(on_input), block, std::move(buffer));
  feed.unread_ = feed.buffer_.first(0);
  return feed;
}

Result<Bytes> Feed::peek(size_t least) {
  while (unread_.size() < least && !ended()) TRY(read_block());
  return unread_;
}

Status Feed::read_block() {
  const size_t left = unread_.size();
  uint8_t* const at = buffer_.data() + kMargin;
  const MutableBytes block(at, static_cast<size_t>(std::min<uint64_t>(block_, size_ - offset_)));
  std::memmove(at - left, unread_.data(), left);
  TRY(source_->read_at(offset_, block));
  offset_ += block.size();
  if (ended()) std::memset(at + block.size(), 0, kMargin);
  unread_ = {at - left, left + block.size()};
  if (on_input_) on_input_(block);
  return ok();
}

}  // namespace seekable::inflate
