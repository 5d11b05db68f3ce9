#include "layer/frame_check.h"

#include <algorithm>
#include <vector>

#include "hash/messages.h"
#include "hash/sha2.h"
#include "zstd/frame.h"

namespace seekable::layer {

namespace {

Error wrong_sum(const std::string& name) {
  return mismatch(name, "does not have the checksum that the chunk table gives it");
}

bool same(Bytes digest, Bytes checksum) { return std::equal(digest.begin(), digest.end(), checksum.begin()); }

}  // namespace

std::string frame_name(const FrameTable& table, uint64_t index) {
  return "frame " + std::to_string(index) + " at byte " + std::to_string(table.offsets[index]);
}

Status check_length(const FrameTable& table, uint64_t index) {
  const uint64_t length = table.offsets[index + 1] - table.offsets[index];
  // No encoder needs twice the bound.
  const uint64_t most = 2 * zstd::frame_bound(table.starts[index + 1] - table.starts[index]) + 1024;
  if (length <= most) return ok();
  return corrupt(frame_name(table, index), "is longer than any frame of its chunk can be");
}

Status check_sum(Bytes frame, Bytes checksum, const std::string& name) {
  if (checksum.empty()) return ok();
  const bool is_same = checksum.size() == sizeof(hash::Sha512Digest) ? same(hash::sha512(frame), checksum)
                                                                     : same(hash::sha256(frame), checksum);
  return is_same ? ok() : Status(wrong_sum(name));
}

void check_sums(const FrameTable& table, std::span<const uint64_t> indexes, std::span<const Bytes> frames,
                std::span<Status> statuses) {
  const size_t size = table.checksum_size;
  std::vector<hash::Sha512Digest> digests;
  if (size == sizeof(hash::Sha512Digest)) {
    digests.resize(frames.size());
    hash::sha512_each(frames, digests);
  }
  for (size_t i = 0; i < frames.size(); ++i) {
    if (!statuses[i].ok()) continue;
    const Bytes checksum = Bytes(table.checksums).subspan(indexes[i] * size, size);
    const std::string name = frame_name(table, indexes[i]);
    if (digests.empty()) {
      statuses[i] = check_sum(frames[i], checksum, name);
    } else if (!same(digests[i], checksum)) {
      statuses[i] = wrong_sum(name);
    }
  }
}

Status copy_raw(Bytes frame, MutableBytes out, const std::string& name) {
  if (frame.size() != out.size()) return corrupt(name, "is stored raw, but not as long as its chunk");
  std::copy(frame.begin(), frame.end(), out.begin());
  return ok();
}

}  // namespace seekable::layer
