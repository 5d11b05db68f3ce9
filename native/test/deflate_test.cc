// Our DEFLATE decoder against zlib: the same streams are accepted, and give the same bytes.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "inflate/crc32.h"
#include "test/zlib_oracle.h"

namespace seekable::inflate {
namespace {

using Random = std::mt19937_64;

size_t below(Random& random, size_t limit) { return static_cast<size_t>(random() % limit); }

// Literals, runs, and matches near and far.
std::string sample(Random& random, size_t size) {
  const size_t letters = 1 + below(random, 256);
  std::string text;
  while (text.size() < size) {
    const size_t length = 1 + below(random, below(random, 8) == 0 ? 2000 : 40);
    switch (below(random, 3)) {
      case 0: text.append(length, static_cast<char>(random())); break;
      case 1:
        for (size_t i = 0; i < length; ++i) text += static_cast<char>(below(random, letters));
        break;
      default: {
        const size_t reach = std::min(text.size(), size_t{1} << below(random, 17));
        const size_t from = text.size() - reach;
        for (size_t i = 0; reach > 0 && i < length; ++i) text += text[from + i];
      }
    }
  }
  text.resize(size);
  return text;
}

struct Style {
  int level, strategy, window_bits, memory;
  size_t flush_every;  // 0: never
  int flush;
};

Style any_style(Random& random) {
  constexpr int kStrategies[] = {Z_DEFAULT_STRATEGY, Z_FILTERED, Z_HUFFMAN_ONLY, Z_RLE, Z_FIXED};
  constexpr int kFlushes[] = {Z_PARTIAL_FLUSH, Z_SYNC_FLUSH, Z_FULL_FLUSH, Z_BLOCK};
  return {static_cast<int>(below(random, 10)),          kStrategies[below(random, 5)],
          9 + static_cast<int>(below(random, 7)),       1 + static_cast<int>(below(random, 9)),
          below(random, 2) * (1 + below(random, 5000)), kFlushes[below(random, 4)]};
}

std::string deflated(const std::string& text, const Style& style) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, style.level, Z_DEFLATED, -style.window_bits, style.memory, style.strategy),
            Z_OK);
  std::string out(2 * text.size() + 1'000'000, '\0');
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const size_t step = style.flush_every == 0 ? text.size() : style.flush_every;
  for (size_t at = 0; at < text.size(); at += step) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data() + at));
    stream.avail_in = static_cast<uInt>(std::min(step, text.size() - at));
    EXPECT_EQ(deflate(&stream, style.flush), Z_OK);
  }
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// False where they differ, having said how.
bool agree(const std::string& stream, size_t block = Feed::kBlock) {
  const test::Inflated theirs = test::by_zlib(as_bytes(stream), test::kRaw);
  for (const bool portable : {false, true}) {
    const test::Inflated ours = test::by_us(as_bytes(stream), block, SIZE_MAX, portable);
    EXPECT_EQ(ours.complete, theirs.complete);
    EXPECT_EQ(ours.refused, !theirs.complete);
    if (!theirs.complete) continue;
    EXPECT_EQ(ours.used, theirs.used);
    EXPECT_TRUE(ours.bytes == theirs.bytes)
        << ours.bytes.size() << " and " << theirs.bytes.size() << " bytes";
  }
  return !testing::Test::HasFailure();
}

TEST(Deflate, WhatZlibWrites) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    Random random(seed);
    const std::string text = sample(random, below(random, seed % 10 == 0 ? 1'500'000 : 60'000));
    const std::string stream = deflated(text, any_style(random));
    const test::Inflated ours = test::by_us(as_bytes(stream + "tail"));
    ASSERT_TRUE(ours.complete && ours.used == stream.size()) << "seed " << seed;
    ASSERT_TRUE(ours.bytes == text) << "seed " << seed;
    ASSERT_TRUE(agree(stream)) << "seed " << seed;
  }
}

TEST(Deflate, InputInAnyBlocks) {
  for (unsigned seed = 0; seed < 20; ++seed) {
    Random random(seed);
    const std::string stream = deflated(sample(random, 20'000), any_style(random));
    for (const size_t block : {1, 2, 3, 5, 41, 600, 4096}) {
      ASSERT_TRUE(agree(stream, block)) << "seed " << seed << ", block " << block;
    }
  }
}

TEST(Deflate, CutShortAnywhere) {
  for (unsigned seed = 0; seed < 12; ++seed) {
    Random random(seed);
    const std::string stream = deflated(sample(random, 3000), any_style(random));
    for (size_t length = 0; length < stream.size(); ++length) {
      const test::Inflated ours = test::by_us(as_bytes(stream).first(length), 1 + length % 97);
      ASSERT_TRUE(ours.refused) << "seed " << seed << ", length " << length;
    }
  }
}

std::string damaged(Random& random, std::string stream) {
  for (size_t changes = 1 + below(random, 3); changes > 0; --changes) {
    const size_t at = below(random, stream.size());
    switch (below(random, 6)) {
      case 0: stream.resize(at + 1); break;
      case 1: stream[at] = static_cast<char>(random()); break;
      case 2: stream = stream.substr(0, at) + stream.substr(below(random, stream.size())) + '\0'; break;
      default: stream[at] = static_cast<char>(stream[at] ^ (1 << below(random, 8)));
    }
  }
  return stream;
}

TEST(Deflate, Damaged) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    Random random(seed);
    const std::string stream = deflated(sample(random, 1 + below(random, 4000)), any_style(random));
    for (int i = 0; i < 100; ++i) {
      const std::string input = damaged(random, stream);
      ASSERT_TRUE(agree(input, i % 10 == 0 ? 3 : Feed::kBlock)) << "seed " << seed << ", damage " << i;
    }
  }
}

class BitWriter {
 public:
  void put(unsigned value, unsigned width) {
    for (unsigned i = 0; i < width; ++i, ++count_) {
      if (count_ % 8 == 0) bytes_ += '\0';
      bytes_.back() = static_cast<char>(bytes_.back() | (value >> i & 1) << count_ % 8);
    }
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  size_t count_ = 0;
};

// Code lengths, of a complete code as a rule: leaves are split until there are enough.
std::vector<unsigned> code_lengths(Random& random, size_t symbols) {
  std::vector<unsigned> lengths(symbols, 0);
  const size_t used =
      below(random, 4) == 0 ? below(random, std::min<size_t>(symbols, 3) + 1) : 1 + below(random, symbols);
  std::vector<unsigned> leaves(used > 0 ? 1 : 0, 0);
  while (leaves.size() < used) {
    const size_t at = std::max(below(random, leaves.size()), below(random, leaves.size()));
    if (leaves[at] == 15) continue;
    leaves.push_back(++leaves[at]);
  }
  if (used == 1) leaves[0] = 1 + static_cast<unsigned>(below(random, 8) == 0);
  if (used > 0 && below(random, 8) == 0)
    leaves[below(random, used)] = 1 + static_cast<unsigned>(below(random, 15));
  std::copy(leaves.begin(), leaves.end(), lengths.begin());
  std::shuffle(lengths.begin(), lengths.end(), random);
  return lengths;
}

// A block with codes that zlib would never choose, then noise.
std::string strange_codes(Random& random) {
  const size_t literals = 257 + below(random, 32), distances = 1 + below(random, 32);
  auto lengths = code_lengths(random, literals);
  if (lengths[256] == 0 && below(random, 8) != 0) {
    std::swap(lengths[256], *std::max_element(lengths.begin(), lengths.end()));
  }
  const auto of_distances = code_lengths(random, distances);
  lengths.insert(lengths.end(), of_distances.begin(), of_distances.end());
  BitWriter bits;
  bits.put(below(random, 2) == 0 ? 5 : 4, 3);
  bits.put(static_cast<unsigned>(literals - 257), 5);
  bits.put(static_cast<unsigned>(distances - 1), 5);
  bits.put(15, 4);
  // The lengths 0 to 15 get a code of four bits each; those that repeat others, none.
  for (int i = 0; i < 19; ++i) bits.put(i < 3 ? 0 : 4, 3);
  for (const unsigned length : lengths) {
    for (int bit = 3; bit >= 0; --bit) bits.put(length >> bit & 1, 1);
  }
  const bool zeros = below(random, 4) == 0;
  for (int i = 0; i < 200; ++i) bits.put(zeros ? 0 : static_cast<unsigned>(random() & 0xff), 8);
  return bits.bytes();
}

TEST(Deflate, StrangeCodes) {
  int accepted = 0;
  for (unsigned seed = 0; seed < 20'000; ++seed) {
    Random random(seed);
    const std::string stream = strange_codes(random);
    ASSERT_TRUE(agree(stream)) << "seed " << seed;
    accepted += test::by_us(as_bytes(stream)).complete;
  }
  EXPECT_GT(accepted, 500);  // or it tests little
}

// What repeats code lengths: symbol 16 the one before, 17 and 18 zeros.
struct Repeat {
  unsigned symbol, fewest, extra_bits;
};

// A whole stream of nothing, of which the lengths of `distances` codes are one zero, then `times` repeated
// ones.
std::string repeated_lengths(const Repeat& repeat, unsigned distances, unsigned times) {
  BitWriter bits;
  bits.put(5, 3);
  bits.put(0, 5);
  bits.put(distances - 1, 5);
  bits.put(14, 4);
  // Codes of the lengths, in the format's order: 16, 17 and 18 have two bits (00, 01, 10), 0 and 1 three
  // (110, 111).
  for (const unsigned symbol : {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1}) {
    bits.put(symbol >= 16 ? 2 : symbol <= 1 ? 3 : 0, 3);
  }
  constexpr unsigned kZero = 0b011, kOne = 0b111;  // bits come first bit lowest
  constexpr unsigned kRepeats[] = {0b00, 0b10, 0b01};
  for (const unsigned zeros : {138u, 118u}) {  // of the literals
    bits.put(kRepeats[2], 2);
    bits.put(zeros - 11, 7);
  }
  bits.put(kOne, 3);  // of the end of the block
  bits.put(kZero, 3);
  bits.put(kRepeats[repeat.symbol - 16], 2);
  bits.put(times - repeat.fewest, repeat.extra_bits);
  bits.put(0, 1);  // the end of the block
  return bits.bytes();
}

TEST(Deflate, LengthsAreRepeatedUpToTheLastCode) {
  for (const Repeat& repeat : {Repeat{16, 3, 2}, Repeat{17, 3, 3}, Repeat{18, 11, 7}}) {
    const unsigned most = std::min(29u, repeat.fewest + (1u << repeat.extra_bits) - 1);
    for (unsigned times = repeat.fewest; times <= most; ++times) {
      const std::string whole = repeated_lengths(repeat, 1 + times, times);
      EXPECT_TRUE(agree(whole) && test::by_us(as_bytes(whole)).complete) << repeat.symbol << ' ' << times;
      const std::string beyond = repeated_lengths(repeat, times, times);
      EXPECT_TRUE(agree(beyond) && test::by_us(as_bytes(beyond)).refused) << repeat.symbol << ' ' << times;
    }
  }
}

TEST(Deflate, FixedCodesAndNoise) {
  for (unsigned seed = 0; seed < 5000; ++seed) {
    Random random(seed);
    BitWriter bits;
    bits.put(below(random, 2) == 0 ? 3 : 2, 3);
    for (int i = 0; i < 60; ++i) bits.put(static_cast<unsigned>(random() & 0xff), 8);
    ASSERT_TRUE(agree(bits.bytes())) << "seed " << seed;
  }
}

TEST(Crc32, AsZlib) {
  Random random(1);
  const std::string text = sample(random, 70'000);
  for (size_t size = 0; size < 1500; ++size) {
    const Bytes bytes = as_bytes(text).subspan(size % 13, size);
    const auto start = static_cast<uint32_t>(random());
    for (const CrcKernel kernel :
         {CrcKernel::kFastest, CrcKernel::kPclmul, CrcKernel::kPortable, CrcKernel::kTable}) {
      ASSERT_EQ(crc32(start, bytes, kernel), ::crc32_z(start, bytes.data(), bytes.size())) << size;
    }
  }
  EXPECT_EQ(crc32(0, as_bytes(text)), ::crc32_z(0, as_bytes(text).data(), text.size()));
}

}  // namespace
}  // namespace seekable::inflate
