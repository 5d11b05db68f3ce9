// SHA-256 over bytes that come in pieces.
#include <algorithm>

#include "hash/constants.h"
#include "hash/kernels.h"
#include "hash/message.h"
#include "hash/sha2.h"

namespace seekable::hash {

namespace {

constexpr size_t kChunk = kChunkSize<uint32_t>;

void compress(std::array<uint32_t, 8>& state, const uint8_t* bytes, size_t chunks) {
  kernels().sha256.single().compress(state.data(), &bytes, chunks);
}

void compress_pair(Compress<uint32_t>* pair, std::array<uint32_t, 8>& a, const uint8_t* x,
                   std::array<uint32_t, 8>& b, const uint8_t* y, size_t chunks) {
  uint32_t state[16];
  for (size_t j = 0; j < 8; ++j) {
    state[2 * j] = a[j];
    state[2 * j + 1] = b[j];
  }
  const uint8_t* const messages[2] = {x, y};
  pair(state, messages, chunks);
  for (size_t j = 0; j < 8; ++j) {
    a[j] = state[2 * j];
    b[j] = state[2 * j + 1];
  }
}

}  // namespace

Sha256::Sha256() : state_(Sha2<uint32_t>::kInitial) {}

Bytes Sha256::complete_pending(Bytes bytes) {
  const size_t pending = length_ % kChunk;
  if (pending == 0) return bytes;
  const size_t taken = std::min(bytes.size(), kChunk - pending);
  std::copy_n(bytes.begin(), taken, pending_.begin() + static_cast<ptrdiff_t>(pending));
  length_ += taken;
  if (pending + taken == kChunk) compress(state_, pending_.data(), 1);
  return bytes.subspan(taken);
}

void Sha256::update(Bytes bytes) {
  bytes = complete_pending(bytes);
  if (bytes.empty()) return;
  const size_t rest = bytes.size() % kChunk;
  compress(state_, bytes.data(), bytes.size() / kChunk);
  std::copy(bytes.end() - static_cast<ptrdiff_t>(rest), bytes.end(), pending_.begin());
  length_ += bytes.size();
}

void Sha256::update_both(Sha256& a, Bytes x, Sha256& b, Bytes y) {
  if (Compress<uint32_t>* pair = kernels().sha256_pair) {
    x = a.complete_pending(x);
    y = b.complete_pending(y);
    const size_t chunks = std::min(x.size(), y.size()) / kChunk;
    if (chunks > 0) compress_pair(pair, a.state_, x.data(), b.state_, y.data(), chunks);
    a.length_ += chunks * kChunk;
    b.length_ += chunks * kChunk;
    x = x.subspan(chunks * kChunk);
    y = y.subspan(chunks * kChunk);
  }
  a.update(x);
  b.update(y);
}

Sha256Digest Sha256::finish() {
  const size_t used = length_ % kChunk;
  uint8_t tail[2 * kChunk];
  std::copy_n(pending_.begin(), used, tail);
  compress(state_, tail, pad_message<uint32_t>(tail, used, length_));
  Sha256Digest digest;
  store_digest(state_.data(), 1, digest.data());
  return digest;
}

Sha256Digest sha256(Bytes bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

}  // namespace seekable::hash
