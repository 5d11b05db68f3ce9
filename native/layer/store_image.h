// Image bytes as they are → blob, DiffID and the checksum of each chunk, in one pass: encode_image()
// without zstd.
#pragma once

#include <vector>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"
#include "layer/blob_sink.h"

namespace seekable::layer {

struct StoreOptions {
  uint32_t chunk_size = 4 << 20;      // bytes, > 0
  std::vector<uint64_t> starts = {};  // as ChunkCut::of() takes them
  unsigned threads = 1;
};

struct StoredImage {
  hash::Sha256Digest diff_id;      // of the image
  std::vector<uint64_t> offsets;   // where each chunk begins in the blob, and where the last one ends
  std::vector<uint8_t> checksums;  // SHA-512 of each chunk
};

// Appends `image` to `sink`. Memory: a few chunks a thread.
Result<StoredImage> store_image(const ByteSource& image, BlobSink& sink, const StoreOptions& options,
                                Job& job);

}  // namespace seekable::layer
