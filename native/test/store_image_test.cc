// store_image, and sources behind each other.
#include "layer/store_image.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "layer/concat_source.h"

namespace seekable::layer {
namespace {

std::shared_ptr<const ByteSource> source_of(std::string_view text) {
  return std::make_shared<MemorySource>(Bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string read(const ByteSource& source, uint64_t offset, size_t length) {
  std::string text(length, '?');
  const Status status = source.read_at(offset, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  return status.ok() ? text : status.error().why;
}

TEST(ConcatSource, ReadsAcrossItsParts) {
  const std::string all = "abcdefgh";
  const ConcatSource source(
      {source_of(""), source_of("ab"), source_of(""), source_of("c"), source_of("defgh"), source_of("")});
  ASSERT_EQ(source.size(), all.size());
  for (size_t offset = 0; offset <= all.size(); ++offset) {
    for (size_t length = 0; length <= all.size() - offset; ++length) {
      EXPECT_EQ(read(source, offset, length), all.substr(offset, length));
    }
  }
}

TEST(ConcatSource, EndsWhereItsLastPartDoes) {
  const ConcatSource source({source_of("ab"), source_of("c")});
  EXPECT_EQ(read(source, 2, 2), "read beyond its end");
  EXPECT_EQ(read(source, 4, 0), "read beyond its end");
  EXPECT_EQ(read(source, UINT64_MAX, 2), "read beyond its end");
  EXPECT_EQ(ConcatSource({}).size(), 0u);
  EXPECT_EQ(read(ConcatSource({}), 0, 0), "");
}

TEST(StoreImage, KeepsTheBytesWhateverTheThreads) {
  Job job;
  std::vector<uint8_t> image(100'001);
  for (size_t i = 0; i < image.size(); ++i) image[i] = static_cast<uint8_t>(i * 131 >> 5);
  const Bytes bytes(image);
  constexpr uint32_t kChunk = 4096;
  for (const unsigned threads : {1u, 2u, 5u}) {
    File file = std::move(File::temporary("/tmp").value());
    BlobSink sink(std::move(File::duplicate(file.descriptor(), "blob").value()));
    auto stored = store_image(MemorySource(bytes), sink, {.chunk_size = kChunk, .threads = threads}, job);
    ASSERT_TRUE(stored.ok());
    EXPECT_EQ(stored.value().diff_id, hash::sha256(bytes));
    EXPECT_EQ(sink.finish(), hash::sha256(bytes));
    std::vector<uint8_t> blob(image.size());
    EXPECT_TRUE(file.read_at(0, blob).ok());
    EXPECT_EQ(blob, image);
    ASSERT_EQ(stored.value().offsets.size(), 26u);
    ASSERT_EQ(stored.value().checksums.size(), 25u * 64);
    for (size_t i = 0; i < 25; ++i) {
      EXPECT_EQ(stored.value().offsets[i], i * kChunk);
      const Bytes chunk = bytes.subspan(i * kChunk, std::min<size_t>(kChunk, image.size() - i * kChunk));
      const hash::Sha512Digest sum = hash::sha512(chunk);
      EXPECT_TRUE(std::equal(sum.begin(), sum.end(), stored.value().checksums.begin() + i * 64));
    }
    EXPECT_EQ(stored.value().offsets.back(), image.size());
  }
}

TEST(StoreImage, OfNothingIsEmpty) {
  Job job;
  File file = std::move(File::temporary("/tmp").value());
  BlobSink sink(std::move(File::duplicate(file.descriptor(), "blob").value()));
  const auto stored = store_image(MemorySource({}), sink, {}, job);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored.value().offsets, std::vector<uint64_t>{0});
  EXPECT_TRUE(stored.value().checksums.empty());
  EXPECT_FALSE(store_image(MemorySource({}), sink, {.chunk_size = 0}, job).ok());
}

}  // namespace
}  // namespace seekable::layer
