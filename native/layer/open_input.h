// A layer as it came (plain, gzip or zstd, by content) → bytes that can be read anywhere.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"
#include "inflate/input.h"

namespace seekable::layer {

struct OpenedInput {
  std::shared_ptr<const ByteSource> content;
  inflate::Compression compression;
  // Of compressed input only: a plain one is not read here.
  std::optional<hash::Sha256Digest> source_digest;   // of the bytes as they came
  std::optional<hash::Sha256Digest> content_digest;  // of the decompressed ones
};

// Compressed input is inflated into memory or an unlinked file in `temporary_directory` (inflated_bytes.h);
// plain input is used where it is.
Result<OpenedInput> open_input(std::shared_ptr<const ByteSource> source,
                               const std::string& temporary_directory, Job& job);

}  // namespace seekable::layer
