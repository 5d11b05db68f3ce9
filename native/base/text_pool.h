// Short texts that stay where they are until all go at once: a layer has millions of names.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace seekable {

// A text of a TextPool, in the size of a pointer. Valid as long as the pool.
class PooledText {
 public:
  PooledText() = default;
  std::string_view view() const {
    uint16_t length;
    std::memcpy(&length, at_, sizeof length);
    return {at_ + sizeof length, length};
  }

 private:
  friend class TextPool;
  explicit PooledText(const char* at) : at_(at) {}
  const char* at_ = "\0";  // length, then bytes
};

class TextPool {
 public:
  // A copy of `text`. REQUIRES: at most kMaxLength bytes.
  PooledText add(std::string_view text) {
    const auto length = static_cast<uint16_t>(text.size());
    if (left_ < sizeof length + text.size()) grow(sizeof length + text.size());
    char* const at = next_;
    std::memcpy(at, &length, sizeof length);
    std::memcpy(at + sizeof length, text.data(), text.size());
    next_ += sizeof length + text.size();
    left_ -= sizeof length + text.size();
    return PooledText(at);
  }

  static constexpr size_t kMaxLength = UINT16_MAX;

 private:
  static constexpr size_t kBlockSize = size_t{64} << 10;

  void grow(size_t needed) {
    left_ = needed > kBlockSize ? needed : kBlockSize;
    next_ = blocks_.emplace_back(new char[left_]).get();
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* next_ = nullptr;  // in the last block
  size_t left_ = 0;       // bytes there
};

}  // namespace seekable
