// Finds names in the directories of a tree that is still growing, whose names are in no order yet.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "erofs/tree.h"

namespace seekable::layer {

class NameIndex {
 public:
  NameIndex();

  // Which of `names`, all of them added before, is `text` in `directory`.
  std::optional<uint32_t> find(const std::vector<erofs::Name>& names, erofs::DirectoryId directory,
                               std::string_view text) const;
  // Adds the last of `names`. REQUIRES: it is not there yet.
  void add(const std::vector<erofs::Name>& names);

 private:
  struct Slot {
    uint32_t hash;  // its upper half, so that most others are passed over without a look at the name
    uint32_t number;
  };

  uint64_t hash(erofs::DirectoryId directory, std::string_view text) const;
  void put(Slot slot);
  void grow();

  std::vector<Slot> slots_;  // a power of two of them, at most three quarters in use
  size_t used_ = 0;
  const uint64_t secret_;  // whoever writes a tar can't choose names that meet
};

}  // namespace seekable::layer
