// SHA-512 with ARMv8.2's instructions: of one message, and of two in step, which hides the latency of each.
#if defined(__aarch64__)

#include <arm_neon.h>

#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"

// The compilers count these instructions as SHA-3's.
#define SEEKABLE_SHA512 __attribute__((target("arch=armv8.2-a+sha3")))
#define SEEKABLE_TARGET __attribute__((target("arch=armv8.2-a+sha3"), always_inline))

namespace seekable::hash {
namespace {

// Two words of one message, and of two. The functions below exist for both, so that the rounds are written
// once.
using One = uint64x2_t;
struct Two {
  One x, y;
};

SEEKABLE_TARGET inline One add(One a, One b) { return vaddq_u64(a, b); }
// The upper word of `a` and the lower one of `b`.
SEEKABLE_TARGET inline One middle(One a, One b) { return vextq_u64(a, b, 1); }
SEEKABLE_TARGET inline One rounds_first(One sum, One fg, One de) { return vsha512hq_u64(sum, fg, de); }
SEEKABLE_TARGET inline One rounds_second(One sum, One cd, One ab) { return vsha512h2q_u64(sum, cd, ab); }
SEEKABLE_TARGET inline One lower0(One a, One b) { return vsha512su0q_u64(a, b); }
SEEKABLE_TARGET inline One lower1(One a, One b, One c) { return vsha512su1q_u64(a, b, c); }

SEEKABLE_TARGET inline Two add(Two a, Two b) { return {add(a.x, b.x), add(a.y, b.y)}; }
SEEKABLE_TARGET inline Two add(Two a, One b) { return {add(a.x, b), add(a.y, b)}; }
SEEKABLE_TARGET inline Two middle(Two a, Two b) { return {middle(a.x, b.x), middle(a.y, b.y)}; }
SEEKABLE_TARGET inline Two rounds_first(Two sum, Two fg, Two de) {
  return {rounds_first(sum.x, fg.x, de.x), rounds_first(sum.y, fg.y, de.y)};
}
SEEKABLE_TARGET inline Two rounds_second(Two sum, Two cd, Two ab) {
  return {rounds_second(sum.x, cd.x, ab.x), rounds_second(sum.y, cd.y, ab.y)};
}
SEEKABLE_TARGET inline Two lower0(Two a, Two b) { return {lower0(a.x, b.x), lower0(a.y, b.y)}; }
SEEKABLE_TARGET inline Two lower1(Two a, Two b, Two c) {
  return {lower1(a.x, b.x, c.x), lower1(a.y, b.y, c.y)};
}

SEEKABLE_TARGET inline One load_words(const uint8_t* message) {
  return vreinterpretq_u64_u8(vrev64q_u8(vld1q_u8(message)));
}

SEEKABLE_TARGET inline void load_state(One& to, const uint64_t* state, size_t i) {
  to = vld1q_u64(state + 2 * i);
}
SEEKABLE_TARGET inline void load_state(Two& to, const uint64_t* state, size_t i) {
  const uint64x2x2_t both = vld2q_u64(state + 4 * i);
  to = {both.val[0], both.val[1]};
}
SEEKABLE_TARGET inline void store_state(uint64_t* state, size_t i, One from) {
  vst1q_u64(state + 2 * i, from);
}
SEEKABLE_TARGET inline void store_state(uint64_t* state, size_t i, Two from) {
  const uint64x2x2_t both = {{from.x, from.y}};
  vst2q_u64(state + 4 * i, both);
}

SEEKABLE_TARGET inline void load_chunk(One (&w)[8], const uint8_t* const* messages, size_t offset) {
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) w[i] = load_words(messages[0] + offset + 16 * i);
}
SEEKABLE_TARGET inline void load_chunk(Two (&w)[8], const uint8_t* const* messages, size_t offset) {
#pragma GCC unroll 8
  for (size_t i = 0; i < 8; ++i) {
    w[i] = {load_words(messages[0] + offset + 16 * i), load_words(messages[1] + offset + 16 * i)};
  }
}

// Rounds 2i and 2i + 1. Variables a and b are in s[-i % 4], c and d in the one after it, and so on: names
// move instead of values.
template <size_t i, typename Vector>
SEEKABLE_TARGET inline void two_rounds(Vector (&s)[4], Vector w, const uint64_t* constants) {
  const Vector ab = s[(4 - i % 4) % 4], ef = s[(6 - i % 4) % 4];
  Vector& cd = s[(5 - i % 4) % 4];
  Vector& gh = s[(7 - i % 4) % 4];
  const Vector input = add(w, vld1q_u64(constants + 2 * i));
  const Vector sum = rounds_first(add(gh, middle(input, input)), middle(ef, gh), middle(cd, ef));
  gh = rounds_second(sum, cd, ab);
  cd = add(cd, sum);
}

// Replaces message words 2i and 2i + 1 by those 16 rounds later.
template <size_t i, typename Vector>
SEEKABLE_TARGET inline void extend(Vector (&w)[8]) {
  const Vector near = middle(w[(i + 4) % 8], w[(i + 5) % 8]);
  w[i] = lower1(lower0(w[i], w[(i + 1) % 8]), w[(i + 7) % 8], near);
}

template <typename Vector, size_t... i>
SEEKABLE_TARGET inline void all_rounds(Vector (&s)[4], Vector (&w)[8], std::index_sequence<i...>) {
  const uint64_t* constants = Sha2<uint64_t>::kRoundConstants;
  (two_rounds<i>(s, w[i], constants), ...);
  for (size_t done = 16; done < Sha2<uint64_t>::kRounds; done += 16) {
    ((extend<i>(w), two_rounds<i>(s, w[i], constants + done)), ...);
  }
}

template <typename Vector>
SEEKABLE_TARGET inline void compress(uint64_t* state, const uint8_t* const* messages, size_t chunks) {
  Vector s[4], w[8];
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) load_state(s[j], state, j);
  for (size_t chunk = 0; chunk < chunks; ++chunk) {
    load_chunk(w, messages, chunk * 128);
    const Vector before[4] = {s[0], s[1], s[2], s[3]};
    all_rounds(s, w, std::make_index_sequence<8>());
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) s[j] = add(s[j], before[j]);
  }
#pragma GCC unroll 4
  for (size_t j = 0; j < 4; ++j) store_state(state, j, s[j]);
}

}  // namespace

SEEKABLE_SHA512 void compress_sha512_armv8(uint64_t* state, const uint8_t* const* messages, size_t chunks) {
  compress<One>(state, messages, chunks);
}

SEEKABLE_SHA512 void compress_sha512_armv8_pair(uint64_t* state, const uint8_t* const* messages,
                                                size_t chunks) {
  compress<Two>(state, messages, chunks);
}

}  // namespace seekable::hash

#endif
