// Image bytes → zstd frames, DiffID and Merkle tree, in one pass.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"
#include "layer/blob_sink.h"
#include "verity/tree.h"

namespace seekable::layer {

struct EncodeOptions {
  uint32_t chunk_size = 4 << 20;      // bytes, > 0; with verity a multiple of its data block
  std::vector<uint64_t> starts = {};  // as ChunkCut::of() takes them; none with verity
  int level = 3;                      // zstd, 1..22
  unsigned threads = 1;
  std::optional<verity::Parameters> verity;
  std::string temporary_directory;
};

struct EncodedImage {
  hash::Sha256Digest diff_id;        // of the image
  std::vector<uint64_t> offsets;     // where each frame begins in the blob, and where the last one ends
  std::vector<uint8_t> checksums;    // SHA-512 of each frame
  std::optional<verity::Tree> tree;  // over the image padded with zeros to a block
};

// Appends one frame a chunk to `sink`. Memory: a few chunks a thread. The bytes do not depend on `threads`.
Result<EncodedImage> encode_image(const ByteSource& image, BlobSink& sink, const EncodeOptions& options,
                                  Job& job);

}  // namespace seekable::layer
