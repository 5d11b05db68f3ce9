// Frames → image bytes, with every check there is, in one pass.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"
#include "verity/tree.h"

namespace seekable::layer {

// Frame i is [offsets[i], offsets[i + 1]) of the blob and decodes to [starts[i], starts[i + 1]) of the image.
struct FrameTable {
  bool compressed = true;          // zstd frames; else chunks are stored as they are
  std::vector<uint64_t> offsets;   // frames + 1, rising, within the blob
  std::vector<uint64_t> starts;    // frames + 1, rising from 0
  std::vector<uint8_t> checksums;  // of each frame as stored, checksum_size bytes each
  size_t checksum_size = 0;        // 0: none · 32: SHA-256 · 64: SHA-512
};

// The Merkle tree that the image must have, byte for byte.
struct ExpectedTree {
  enum class Location { kBlob, kImage };

  verity::Parameters parameters;
  std::vector<uint8_t> root;
  uint64_t data_size = 0;  // bytes of the image that the tree covers, padded with zeros to a block
  Location location = Location::kBlob;
  uint64_t offset =
      0;  // of the tree (after its superblock block): in the blob as stored, or in the decoded bytes
};

struct DecodeOptions {
  const File* target = nullptr;  // where the image goes, from byte 0 on; null: checks only
  bool syncs = true;  // `target` is synced afterwards: the disk begins with what is written meanwhile
  unsigned threads = 1;
  std::optional<ExpectedTree> tree;
  std::string temporary_directory;
};

struct DecodedImage {
  hash::Sha256Digest diff_id;      // of all decoded bytes
  hash::Sha256Digest blob_digest;  // of the whole blob
};

// Each frame's checksum is compared before it is decompressed, its length after; then the tree. kCorrupt or
// kMismatch names the frame. Digests are returned, not compared: what reached `target` is not to be used
// before that.
Result<DecodedImage> decode_image(const ByteSource& blob, const FrameTable& table,
                                  const DecodeOptions& options, Job& job);

// One frame as decode_image treats it: compared with `checksum` (32 or 64 bytes, or empty), then decoded into
// `out`.
Status decode_frame(Bytes frame, bool compressed, Bytes checksum, MutableBytes out, const std::string& name);

}  // namespace seekable::layer
