// The entries of a folder as the kernel reads them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/checked.h"
#include "fuse/protocol.h"

namespace seekable::fuse {

// What a READDIR answers: as many entries as its size takes.
class Listing {
 public:
  explicit Listing(size_t room) : room_(room) {}
  // False when it is full. `next` is where a later READDIR goes on.
  bool add(uint64_t node, uint64_t next, uint32_t type, std::string_view name) {
    const size_t size = round_up(sizeof(DirectoryEntry) + name.size(), 8);
    if (bytes_.size() + size > room_) return false;
    const DirectoryEntry entry{node, next, static_cast<uint32_t>(name.size()), type};
    const size_t at = bytes_.size();
    bytes_.resize(at + size);
    std::memcpy(bytes_.data() + at, &entry, sizeof entry);
    std::memcpy(bytes_.data() + at + sizeof entry, name.data(), name.size());
    return true;
  }
  Bytes bytes() const { return bytes_; }

 private:
  size_t room_;
  std::vector<uint8_t> bytes_;
};

}  // namespace seekable::fuse
