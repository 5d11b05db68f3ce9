// What is known of a frame before it is decompressed: its length and its checksum.
#pragma once

#include <span>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "layer/decode_image.h"

namespace seekable::layer {

// What errors call a frame.
std::string frame_name(const FrameTable& table, uint64_t index);

// kCorrupt when the frame is longer than any frame of its chunk can be: before memory is taken for it.
Status check_length(const FrameTable& table, uint64_t index);

// Compares frames, `indexes` of the table, with their checksums: several at once cost less than one after the
// other. Of a frame whose status is good already, kMismatch is put there; others are left out.
void check_sums(const FrameTable& table, std::span<const uint64_t> indexes, std::span<const Bytes> frames,
                std::span<Status> statuses);

// The same of one frame that is in no table; an empty checksum is none.
Status check_sum(Bytes frame, Bytes checksum, const std::string& name);

// A chunk that is stored as it is. kCorrupt unless it has the length of `out`.
Status copy_raw(Bytes frame, MutableBytes out, const std::string& name);

}  // namespace seekable::layer
