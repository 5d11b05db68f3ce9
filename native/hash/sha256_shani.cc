// SHA-256 with the SHA instructions: of one message, and of two in step, which hides the latency of each.
#if defined(__x86_64__)

#include <immintrin.h>

#include <utility>

#include "hash/constants.h"
#include "hash/kernels.h"

#define SEEKABLE_TARGET __attribute__((target("sha,sse4.1"), always_inline))

namespace seekable::hash {
namespace {

// Four words of one message, and of two. The functions below exist for both, so that the rounds are written
// once.
using One = __m128i;
struct Two {
  One x, y;
};

SEEKABLE_TARGET inline One add(One a, One b) { return _mm_add_epi32(a, b); }
SEEKABLE_TARGET inline One upper_half(One a) { return _mm_shuffle_epi32(a, 0x0e); }
SEEKABLE_TARGET inline One after_first(One a, One b) { return _mm_alignr_epi8(b, a, 4); }
SEEKABLE_TARGET inline One two_rounds(One cdgh, One abef, One w) {
  return _mm_sha256rnds2_epu32(cdgh, abef, w);
}
SEEKABLE_TARGET inline One lower0(One a, One b) { return _mm_sha256msg1_epu32(a, b); }
SEEKABLE_TARGET inline One lower1(One a, One b) { return _mm_sha256msg2_epu32(a, b); }

SEEKABLE_TARGET inline Two add(Two a, Two b) { return {add(a.x, b.x), add(a.y, b.y)}; }
SEEKABLE_TARGET inline Two add(Two a, One b) { return {add(a.x, b), add(a.y, b)}; }
SEEKABLE_TARGET inline Two upper_half(Two a) { return {upper_half(a.x), upper_half(a.y)}; }
SEEKABLE_TARGET inline Two after_first(Two a, Two b) {
  return {after_first(a.x, b.x), after_first(a.y, b.y)};
}
SEEKABLE_TARGET inline Two two_rounds(Two cdgh, Two abef, Two w) {
  return {two_rounds(cdgh.x, abef.x, w.x), two_rounds(cdgh.y, abef.y, w.y)};
}
SEEKABLE_TARGET inline Two lower0(Two a, Two b) { return {lower0(a.x, b.x), lower0(a.y, b.y)}; }
SEEKABLE_TARGET inline Two lower1(Two a, Two b) { return {lower1(a.x, b.x), lower1(a.y, b.y)}; }

SEEKABLE_TARGET inline One load(const void* from) { return _mm_loadu_si128(static_cast<const One*>(from)); }

// The instructions hold the variables of FIPS 180-4 in two registers, named after them with the highest word
// first.
SEEKABLE_TARGET inline void load_state(const uint32_t* state, size_t lanes, One& abef, One& cdgh) {
  const auto word = [&](size_t j) { return static_cast<int>(state[j * lanes]); };
  abef = _mm_set_epi32(word(0), word(1), word(4), word(5));
  cdgh = _mm_set_epi32(word(2), word(3), word(6), word(7));
}

SEEKABLE_TARGET inline void store_state(uint32_t* state, size_t lanes, One abef, One cdgh) {
  alignas(16) uint32_t words[8];
  _mm_store_si128(reinterpret_cast<One*>(words), abef);
  _mm_store_si128(reinterpret_cast<One*>(words + 4), cdgh);
  constexpr size_t kPlaces[8] = {3, 2, 7, 6, 1, 0, 5, 4};
  for (size_t j = 0; j < 8; ++j) state[j * lanes] = words[kPlaces[j]];
}

SEEKABLE_TARGET inline One load_words(const uint8_t* message) {
  return _mm_shuffle_epi8(load(message), _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

// Rounds 4i to 4i + 3.
template <typename Vector>
SEEKABLE_TARGET inline void four_rounds(Vector& abef, Vector& cdgh, Vector w, const uint32_t* constants) {
  const Vector input = add(w, load(constants));
  cdgh = two_rounds(cdgh, abef, input);
  abef = two_rounds(abef, cdgh, upper_half(input));
}

// Replaces message words 4i to 4i + 3 by those 16 rounds later.
template <size_t i, typename Vector>
SEEKABLE_TARGET inline void extend(Vector (&w)[4]) {
  const Vector near = after_first(w[(i + 2) % 4], w[(i + 3) % 4]);
  w[i] = lower1(add(lower0(w[i], w[(i + 1) % 4]), near), w[(i + 3) % 4]);
}

// One chunk. `w` holds its words and is used up.
template <typename Vector, size_t... i>
SEEKABLE_TARGET inline void all_rounds(Vector& abef, Vector& cdgh, Vector (&w)[4],
                                       std::index_sequence<i...>) {
  const Vector abef_before = abef, cdgh_before = cdgh;
  const uint32_t* constants = Sha2<uint32_t>::kRoundConstants;
  (four_rounds(abef, cdgh, w[i], constants + 4 * i), ...);
  for (size_t done = 16; done < Sha2<uint32_t>::kRounds; done += 16) {
    ((extend<i>(w), four_rounds(abef, cdgh, w[i], constants + done + 4 * i)), ...);
  }
  abef = add(abef, abef_before);
  cdgh = add(cdgh, cdgh_before);
}

}  // namespace

__attribute__((target("sha,sse4.1"))) void compress_sha256_shani(uint32_t* state,
                                                                 const uint8_t* const* messages,
                                                                 size_t chunks) {
  One abef, cdgh;
  load_state(state, 1, abef, cdgh);
  const uint8_t* x = messages[0];
  for (; chunks > 0; --chunks, x += 64) {
    One w[4] = {load_words(x), load_words(x + 16), load_words(x + 32), load_words(x + 48)};
    all_rounds(abef, cdgh, w, std::make_index_sequence<4>());
  }
  store_state(state, 1, abef, cdgh);
}

__attribute__((target("sha,sse4.1"))) void compress_sha256_shani_pair(uint32_t* state,
                                                                      const uint8_t* const* messages,
                                                                      size_t chunks) {
  Two abef, cdgh;
  load_state(state, 2, abef.x, cdgh.x);
  load_state(state + 1, 2, abef.y, cdgh.y);
  const uint8_t* x = messages[0];
  const uint8_t* y = messages[1];
  for (; chunks > 0; --chunks, x += 64, y += 64) {
    Two w[4] = {{load_words(x), load_words(y)},
                {load_words(x + 16), load_words(y + 16)},
                {load_words(x + 32), load_words(y + 32)},
                {load_words(x + 48), load_words(y + 48)}};
    all_rounds(abef, cdgh, w, std::make_index_sequence<4>());
  }
  store_state(state, 2, abef.x, cdgh.x);
  store_state(state + 1, 2, abef.y, cdgh.y);
}

}  // namespace seekable::hash

#endif
