#include "layer/name_index.h"

#include <sys/random.h>

#include <cstring>
#include <ctime>
#include <utility>

namespace seekable::layer {

namespace {

constexpr uint32_t kFree = UINT32_MAX;
constexpr size_t kFewestSlots = 64;
constexpr uint64_t kMultiplier =
    0x9E3779B97F4A7C15;  // 2^64 divided by the golden ratio: odd, bits well mixed

uint64_t random_number() {
  uint64_t number = 0;
  // Fails only on kernels before 3.17; std::random_device would ask for glibc 2.36.
  if (getrandom(&number, sizeof number, 0) != sizeof number) number = static_cast<uint64_t>(time(nullptr));
  return number;
}

// Both halves of a product of 128 bits, which every bit of the factors has a say in.
uint64_t fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

NameIndex::NameIndex() : slots_(kFewestSlots, {0, kFree}), secret_(random_number() | 1) {}

uint64_t NameIndex::hash(erofs::DirectoryId directory, std::string_view text) const {
  uint64_t hash = fold(secret_ ^ directory, kMultiplier ^ text.size());
  while (!text.empty()) {
    uint64_t word = 0;
    const size_t length = text.size() < sizeof word ? text.size() : sizeof word;
    std::memcpy(&word, text.data(), length);
    hash = fold(hash ^ word, secret_);
    text.remove_prefix(length);
  }
  return fold(hash, kMultiplier);
}

std::optional<uint32_t> NameIndex::find(const std::vector<erofs::Name>& names, erofs::DirectoryId directory,
                                        std::string_view text) const {
  const auto wanted = static_cast<uint32_t>(hash(directory, text) >> 32);
  for (size_t at = wanted & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot slot = slots_[at];
    if (slot.number == kFree) return std::nullopt;
    if (slot.hash != wanted) continue;
    const erofs::Name& name = names[slot.number];
    if (name.directory == directory && name.text.view() == text) return slot.number;
  }
}

void NameIndex::add(const std::vector<erofs::Name>& names) {
  if (++used_ > slots_.size() / 4 * 3) grow();
  const erofs::Name& name = names.back();
  put({static_cast<uint32_t>(hash(name.directory, name.text.view()) >> 32),
       static_cast<uint32_t>(names.size() - 1)});
}

void NameIndex::put(Slot slot) {
  size_t at = slot.hash & (slots_.size() - 1);
  while (slots_[at].number != kFree) at = (at + 1) & (slots_.size() - 1);
  slots_[at] = slot;
}

void NameIndex::grow() {
  const std::vector<Slot> old = std::exchange(slots_, std::vector<Slot>(2 * slots_.size(), {0, kFree}));
  for (const Slot& slot : old) {
    if (slot.number != kFree) put(slot);
  }
}

}  // namespace seekable::layer
