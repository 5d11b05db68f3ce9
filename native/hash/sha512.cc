// SHA-512 of one message.
#include <openssl/evp.h>

#include "hash/constants.h"
#include "hash/kernels.h"
#include "hash/message.h"
#include "hash/sha2.h"

// Node's OpenSSL, which not every program that loads Node's addons offers: Bun does not.
#pragma weak EVP_Digest
#pragma weak EVP_sha512

namespace seekable::hash {

namespace {

Sha512Digest sha512_ours(Bytes bytes) {
  constexpr size_t kChunk = kChunkSize<uint64_t>;
  Compress<uint64_t>* const compress = kernels().sha512.single().compress;
  std::array<uint64_t, 8> state = Sha2<uint64_t>::kInitial;
  const size_t used = bytes.size() % kChunk;
  const uint8_t* message = bytes.data();
  compress(state.data(), &message, bytes.size() / kChunk);
  uint8_t tail[2 * kChunk];
  const uint8_t* end = tail;
  if (used > 0) std::memcpy(tail, bytes.data() + bytes.size() - used, used);
  compress(state.data(), &end, pad_message<uint64_t>(tail, used, bytes.size()));
  Sha512Digest digest;
  store_digest(state.data(), 1, digest.data());
  return digest;
}

}  // namespace

Sha512Digest sha512(Bytes bytes) {
  // OpenSSL's code for one message is 1.4 times as fast as our plain C++, but a policy of the system may
  // forbid its use.
  Sha512Digest digest;
  if (EVP_Digest != nullptr && EVP_sha512 != nullptr &&
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), nullptr, EVP_sha512(), nullptr) == 1)
    return digest;
  return sha512_ours(bytes);
}

}  // namespace seekable::hash
