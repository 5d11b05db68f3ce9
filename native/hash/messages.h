// Digests of several messages of any lengths, in the lanes that hash_many() has for equal blocks.
#pragma once

#include <span>

#include "base/bytes.h"
#include "hash/sha2.h"

namespace seekable::hash {

// Writes the SHA-512 of messages[i] to digests[i]. Pays off from three messages on that are alike in length;
// most for a multiple of eight.
void sha512_each(std::span<const Bytes> messages, std::span<Sha512Digest> digests);

}  // namespace seekable::hash
