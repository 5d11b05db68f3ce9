#include "erofs/device_map.h"

#include <algorithm>
#include <bit>

#include "base/checked.h"

namespace seekable::erofs {

namespace {

// Of one file: it is metadata, which is read into memory, and a sparse file's size says nothing of its data.
constexpr uint64_t kMaxTable = uint64_t{64} << 20;
// Other readers may hold the size of a chunk in 32 bits.
constexpr unsigned kMaxChunkBits = 30;

// What lies together in the file and on the device is one extent.
std::vector<Extent> joined(std::span<const Extent> extents) {
  std::vector<Extent> result;
  for (const Extent& extent : extents) {
    if (!result.empty()) {
      Extent& last = result.back();
      const bool follows = last.file_offset + last.length == extent.file_offset &&
                           last.source_offset + last.length == extent.source_offset;
      if (follows) {
        last.length += extent.length;
        continue;
      }
    }
    result.push_back(extent);
  }
  return result;
}

unsigned zeros_at_end(uint64_t number) { return static_cast<unsigned>(std::countr_zero(number)); }

}  // namespace

Status check_data_device(const DataDevice& device, uint32_t block_size) {
  if (device.size % block_size != 0) {
    return unsupported("tar", "its " + std::to_string(device.size) + " bytes are no multiple of " +
                                  std::to_string(block_size) + ", as those of a device must be");
  }
  if (device.size / block_size <= UINT32_MAX) return ok();
  return unsupported("tar", "its " + std::to_string(device.size) +
                                " bytes exceed the 4294967295 blocks of a device of an image");
}

DeviceSlot device_slot(const DataDevice& device, uint32_t block_size) {
  DeviceSlot slot{};
  std::copy_n(device.tag.begin(), std::min(device.tag.size(), sizeof slot.tag), slot.tag);
  slot.blocks = static_cast<uint32_t>(device.size / block_size);
  return slot;
}

Result<std::optional<ChunkMap>> plan_device_chunks(std::span<const Extent> extents, uint64_t size,
                                                   uint32_t block_size) {
  if (size == 0) return std::optional<ChunkMap>();
  const unsigned block_bits = zeros_at_end(block_size);
  unsigned bits = std::clamp(static_cast<unsigned>(std::bit_width(size - 1)), block_bits, kMaxChunkBits);
  const std::vector<Extent> pieces = joined(extents);
  for (const Extent& piece : pieces) {
    const uint64_t end = piece.file_offset + piece.length;
    if (piece.file_offset > 0) bits = std::min(bits, zeros_at_end(piece.file_offset));
    if (end != size) bits = std::min(bits, zeros_at_end(end));
    if (bits >= block_bits && piece.source_offset % block_size == 0) continue;
    return unsupported({}, "the data of this sparse file does not lie in whole blocks of " +
                               std::to_string(block_size) + " bytes, so that no image can point at it");
  }
  ChunkMap map;
  map.block_bits = bits - block_bits;
  map.chunks = ceil_divide(size, uint64_t{1} << bits);
  if (map.chunks > kMaxTable / sizeof(ChunkIndex)) {
    return unsupported({}, "a table of the " + std::to_string(map.chunks) +
                               " chunks of this sparse file would exceed 64 MiB");
  }
  for (const Extent& piece : pieces) {
    map.runs.push_back({.chunk = static_cast<uint32_t>(piece.file_offset >> bits),
                        .count = static_cast<uint32_t>(ceil_divide(piece.length, uint64_t{1} << bits)),
                        .block = static_cast<uint32_t>(piece.source_offset / block_size)});
  }
  return std::optional(std::move(map));
}

}  // namespace seekable::erofs
