#include "erofs/small_reads.h"

#include <gtest/gtest.h>

#include <random>

namespace seekable::erofs {
namespace {

class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(size_t size) : bytes(size) {
    std::mt19937 random(1);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  }
  uint64_t size() const override { return bytes.size() + missing; }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    ++calls;
    return MemorySource(bytes).read_at(offset, out);
  }
  std::vector<uint8_t> bytes;
  size_t missing = 0;  // promised, but not there
  mutable size_t calls = 0;
};

bool reads(SmallReads& reads, const CountingSource& source, uint64_t offset, size_t length) {
  std::vector<uint8_t> out(length);
  return reads.read(offset, out).ok() && std::equal(out.begin(), out.end(), source.bytes.begin() + offset);
}

TEST(SmallReads, TakesNeighboursInOneCall) {
  const CountingSource source(1 << 20);
  SmallReads small(source);
  for (uint64_t offset = 512; offset + 1000 < source.bytes.size(); offset += 2048) {
    ASSERT_TRUE(reads(small, source, offset, 1000)) << offset;
  }
  EXPECT_EQ(source.calls, 1u + 16u);  // the first, and windows of 64 KiB
}

TEST(SmallReads, ReadsOthersAlone) {
  const CountingSource source(1 << 20);
  SmallReads small(source);
  for (const uint64_t offset : {0, 100'000, 200'000, 150'000, 149'000}) {
    ASSERT_TRUE(reads(small, source, offset, 100));
  }
  EXPECT_EQ(source.calls, 5u);
  ASSERT_TRUE(reads(small, source, 149'100, 100'000));
  EXPECT_EQ(source.calls, 6u);
}

TEST(SmallReads, GivesTheBytesOfAnyOrder) {
  const CountingSource source(300'000);
  SmallReads small(source);
  std::mt19937 random(2);
  for (int i = 0; i < 5000; ++i) {
    const size_t length = random() % 6000;
    const uint64_t jump = random() % 3 == 0 ? random() % source.bytes.size() : i * 700 % source.bytes.size();
    const uint64_t offset = std::min<uint64_t>(jump, source.bytes.size() - length);
    ASSERT_TRUE(reads(small, source, offset, length)) << offset << "+" << length;
  }
}

TEST(SmallReads, FailsAsTheSourceDoes) {
  CountingSource source(10'000);
  source.missing = 5000;
  SmallReads small(source);
  EXPECT_TRUE(reads(small, source, 8000, 100));
  std::vector<uint8_t> out(100);
  EXPECT_FALSE(small.read(8200, out).ok());  // the window would reach beyond what is there
  EXPECT_FALSE(small.read(12'000, out).ok());
  EXPECT_FALSE(small.read(20'000, out).ok());
  EXPECT_TRUE(reads(small, source, 1000, 100));
}

}  // namespace
}  // namespace seekable::erofs
