// SHA-256 with ARMv8's instructions: of one message, and of two in step, which hides the latency of each.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"

#define SEEKABLE_TARGET __attribute__((target("+crypto"), always_inline))

namespace seekable::hash {
namespace {

// Four words of one message, and of two. The functions below exist for both, so that the rounds are written
// once.
using One = uint32x4_t;
struct Two {
  One x, y;
};

SEEKABLE_TARGET inline One add(One a, One b) { return vaddq_u32(a, b); }
SEEKABLE_TARGET inline One rounds_abcd(One abcd, One efgh, One w) { return vsha256hq_u32(abcd, efgh, w); }
SEEKABLE_TARGET inline One rounds_efgh(One efgh, One abcd, One w) { return vsha256h2q_u32(efgh, abcd, w); }
SEEKABLE_TARGET inline One lower0(One a, One b) { return vsha256su0q_u32(a, b); }
SEEKABLE_TARGET inline One lower1(One a, One b, One c) { return vsha256su1q_u32(a, b, c); }

SEEKABLE_TARGET inline Two add(Two a, Two b) { return {add(a.x, b.x), add(a.y, b.y)}; }
SEEKABLE_TARGET inline Two add(Two a, One b) { return {add(a.x, b), add(a.y, b)}; }
SEEKABLE_TARGET inline Two rounds_abcd(Two abcd, Two efgh, Two w) {
  return {rounds_abcd(abcd.x, efgh.x, w.x), rounds_abcd(abcd.y, efgh.y, w.y)};
}
SEEKABLE_TARGET inline Two rounds_efgh(Two efgh, Two abcd, Two w) {
  return {rounds_efgh(efgh.x, abcd.x, w.x), rounds_efgh(efgh.y, abcd.y, w.y)};
}
SEEKABLE_TARGET inline Two lower0(Two a, Two b) { return {lower0(a.x, b.x), lower0(a.y, b.y)}; }
SEEKABLE_TARGET inline Two lower1(Two a, Two b, Two c) {
  return {lower1(a.x, b.x, c.x), lower1(a.y, b.y, c.y)};
}

SEEKABLE_TARGET inline void load_state(const uint32_t* state, size_t lanes, One& abcd, One& efgh) {
  alignas(16) uint32_t words[8];
  for (size_t j = 0; j < 8; ++j) words[j] = state[j * lanes];
  abcd = vld1q_u32(words);
  efgh = vld1q_u32(words + 4);
}

SEEKABLE_TARGET inline void store_state(uint32_t* state, size_t lanes, One abcd, One efgh) {
  alignas(16) uint32_t words[8];
  vst1q_u32(words, abcd);
  vst1q_u32(words + 4, efgh);
  for (size_t j = 0; j < 8; ++j) state[j * lanes] = words[j];
}

SEEKABLE_TARGET inline One load_words(const uint8_t* message) {
  return vreinterpretq_u32_u8(vrev32q_u8(vld1q_u8(message)));
}

// Rounds 4i to 4i + 3.
template <typename Vector>
SEEKABLE_TARGET inline void four_rounds(Vector& abcd, Vector& efgh, Vector w, const uint32_t* constants) {
  const Vector input = add(w, vld1q_u32(constants));
  const Vector abcd_before = abcd;
  abcd = rounds_abcd(abcd, efgh, input);
  efgh = rounds_efgh(efgh, abcd_before, input);
}

// Replaces message words 4i to 4i + 3 by those 16 rounds later.
template <size_t i, typename Vector>
SEEKABLE_TARGET inline void extend(Vector (&w)[4]) {
  w[i] = lower1(lower0(w[i], w[(i + 1) % 4]), w[(i + 2) % 4], w[(i + 3) % 4]);
}

// One chunk. `w` holds its words and is used up.
template <typename Vector, size_t... i>
SEEKABLE_TARGET inline void all_rounds(Vector& abcd, Vector& efgh, Vector (&w)[4],
                                       std::index_sequence<i...>) {
  const Vector abcd_before = abcd, efgh_before = efgh;
  const uint32_t* constants = Sha2<uint32_t>::kRoundConstants;
  (four_rounds(abcd, efgh, w[i], constants + 4 * i), ...);
  for (size_t done = 16; done < Sha2<uint32_t>::kRounds; done += 16) {
    ((extend<i>(w), four_rounds(abcd, efgh, w[i], constants + done + 4 * i)), ...);
  }
  abcd = add(abcd, abcd_before);
  efgh = add(efgh, efgh_before);
}

}  // namespace

__attribute__((target("+crypto"))) void compress_sha256_armv8(uint32_t* state, const uint8_t* const* messages,
                                                              size_t chunks) {
  One abcd, efgh;
  load_state(state, 1, abcd, efgh);
  const uint8_t* x = messages[0];
  for (; chunks > 0; --chunks, x += 64) {
    One w[4] = {load_words(x), load_words(x + 16), load_words(x + 32), load_words(x + 48)};
    all_rounds(abcd, efgh, w, std::make_index_sequence<4>());
  }
  store_state(state, 1, abcd, efgh);
}

__attribute__((target("+crypto"))) void compress_sha256_armv8_pair(uint32_t* state,
                                                                   const uint8_t* const* messages,
                                                                   size_t chunks) {
  Two abcd, efgh;
  load_state(state, 2, abcd.x, efgh.x);
  load_state(state + 1, 2, abcd.y, efgh.y);
  const uint8_t* x = messages[0];
  const uint8_t* y = messages[1];
  for (; chunks > 0; --chunks, x += 64, y += 64) {
    Two w[4] = {{load_words(x), load_words(y)},
                {load_words(x + 16), load_words(y + 16)},
                {load_words(x + 32), load_words(y + 32)},
                {load_words(x + 48), load_words(y + 48)}};
    all_rounds(abcd, efgh, w, std::make_index_sequence<4>());
  }
  store_state(state, 2, abcd.x, efgh.x);
  store_state(state + 1, 2, abcd.y, efgh.y);
}

}  // namespace seekable::hash

#endif
