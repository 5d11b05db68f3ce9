// Whole sources read in order: into a file, into a hash.
#pragma once

#include "base/io.h"
#include "base/job.h"
#include "hash/sha2.h"

namespace seekable::layer {

// Writes all of `source` to `file` from `offset` on, and returns its SHA-256. `threads` produce the bytes.
Result<hash::Sha256Digest> write_source(const ByteSource& source, const File& file, uint64_t offset,
                                        unsigned threads, Job& job);

// SHA-256 of all of `source`.
Result<hash::Sha256Digest> hash_source(const ByteSource& source, Job& job);

}  // namespace seekable::layer
