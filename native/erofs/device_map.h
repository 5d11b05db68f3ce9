// File data that lies on another device, as it lies in a tar: an image of metadata alone points at it.
#pragma once

#include <span>

#include "base/error.h"
#include "erofs/chunk_map.h"
#include "erofs/format.h"
#include "erofs/image.h"

namespace seekable::erofs {

// kUnsupported for a device that is not a number of blocks, or of more than an image can name.
Status check_data_device(const DataDevice& device, uint32_t block_size);

// REQUIRES: check_data_device() let it pass.
DeviceSlot device_slot(const DataDevice& device, uint32_t block_size);

// The map of a file with data or holes, in the largest chunks that can say it, with no blocks of its own:
// runs point at blocks of the device. An empty file has none. kUnsupported, about no path, where data and
// holes do not meet at blocks, as in sparse files of some tars, or would take a table too large.
Result<std::optional<ChunkMap>> plan_device_chunks(std::span<const Extent> extents, uint64_t size,
                                                   uint32_t block_size);

}  // namespace seekable::erofs
