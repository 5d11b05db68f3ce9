// SHA-256 of one message in plain C++: a vector of one lane.
#include <bit>
#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"
#include "hash/message.h"

#define SEEKABLE_TARGET __attribute__((always_inline))

namespace seekable::hash {
namespace {

using Word = uint32_t;
using Vector = Word;
constexpr size_t kLanes = 1;

template <int n>
inline Vector rotate(Vector x) {
  return std::rotr(x, n);
}
template <int n>
inline Vector shift(Vector x) {
  return x >> n;
}
inline Vector add(Vector x, Vector y) { return x + y; }
inline Vector broadcast(Word word) { return word; }
inline Vector load(const Word* from) { return *from; }
inline void store(Word* to, Vector x) { *to = x; }
inline Vector xor3(Vector x, Vector y, Vector z) { return x ^ y ^ z; }
inline Vector choose(Vector x, Vector y, Vector z) { return (x & (y ^ z)) ^ z; }
inline Vector majority(Vector x, Vector y, Vector z) { return (x & y) | ((x | y) & z); }

inline void load_chunk(Vector (&w)[16], const uint8_t* const* messages, size_t offset) {
  for (size_t j = 0; j < 16; ++j) w[j] = swap_bytes(load_le<Word>(messages[0] + offset + j * sizeof(Word)));
}

#include "hash/rounds.inc"

}  // namespace

void compress_sha256_portable(uint32_t* state, const uint8_t* const* messages, size_t chunks) {
  compress_lanes(state, messages, chunks);
}

}  // namespace seekable::hash
