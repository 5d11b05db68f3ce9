// InflatedBytes: a small layer stays in memory, a large one goes to a file.
#include "layer/inflated_bytes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace seekable::layer {
namespace {

constexpr size_t kLimit = InflatedBytes::kMostInMemory;
// Where no file can be made: whatever needs one fails.
const std::string kNowhere = "/nonexistent";

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 16));
  return bytes;
}

// In pieces of changing lengths, none of which fits a block.
Status append(InflatedBytes& content, Bytes bytes) {
  for (size_t length = 1; !bytes.empty(); length = length * 3 + 1) {
    const Bytes piece = bytes.first(std::min({bytes.size(), length, size_t{300'001}}));
    TRY(content.append(piece));
    bytes = bytes.subspan(piece.size());
    if (length > kLimit) length = 1;
  }
  return ok();
}

void expect_content(const ByteSource& source, const std::vector<uint8_t>& expected) {
  ASSERT_EQ(source.size(), expected.size());
  std::vector<uint8_t> all(expected.size());
  ASSERT_TRUE(source.read_at(0, all).ok());
  EXPECT_TRUE(all == expected);
  // Across the border of two blocks, and to the last byte.
  for (const size_t offset : {size_t{0}, (size_t{1} << 20) - 5, expected.size() - 10}) {
    std::vector<uint8_t> part(10);
    ASSERT_TRUE(source.read_at(offset, part).ok());
    EXPECT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + static_cast<ptrdiff_t>(offset)));
  }
  std::vector<uint8_t> beyond(11);
  EXPECT_FALSE(source.read_at(expected.size() - 10, beyond).ok());
  EXPECT_FALSE(source.read_at(expected.size() + 1, MutableBytes{}).ok());
}

TEST(InflatedBytes, KeepsASmallLayerInMemory) {
  const std::vector<uint8_t> bytes = pattern(kLimit);
  InflatedBytes content(kLimit / 3, kNowhere);
  ASSERT_TRUE(append(content, bytes).ok());
  expect_content(*content.finish(), bytes);
}

TEST(InflatedBytes, MovesWhatGetsTooLargeToAFile) {
  const std::vector<uint8_t> bytes = pattern(kLimit + 1);
  InflatedBytes content(kLimit / 3, testing::TempDir());
  ASSERT_TRUE(append(content, bytes).ok());
  const auto source = content.finish();
  EXPECT_NE(dynamic_cast<const FileSource*>(source.get()), nullptr);
  expect_content(*source, bytes);
}

TEST(InflatedBytes, SaysThatNoFileCanBeMade) {
  InflatedBytes content(kLimit / 3, kNowhere);
  const Status status = append(content, pattern(kLimit + 1));
  ASSERT_FALSE(status.ok());
  EXPECT_NE(status.error().what.find(kNowhere), std::string::npos);
}

TEST(InflatedBytes, BeginsALargeLayerInAFile) {
  InflatedBytes content(kLimit + 1, testing::TempDir());
  const std::vector<uint8_t> bytes = pattern(100);
  ASSERT_TRUE(content.append(bytes).ok());
  EXPECT_NE(dynamic_cast<const FileSource*>(content.finish().get()), nullptr);
}

TEST(InflatedBytes, MayBeEmpty) {
  InflatedBytes content(20, kNowhere);
  EXPECT_EQ(content.finish()->size(), 0);
  InflatedBytes large(kLimit + 1, testing::TempDir());
  const auto source = large.finish();
  EXPECT_EQ(source->size(), 0);
  EXPECT_TRUE(source->read_at(0, MutableBytes{}).ok());
}

}  // namespace
}  // namespace seekable::layer
