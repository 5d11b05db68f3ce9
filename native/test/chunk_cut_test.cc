#include "layer/chunk_cut.h"

#include <gtest/gtest.h>

#include "layer/blob_sink.h"
#include "layer/encode_image.h"
#include "layer/store_image.h"

namespace seekable::layer {
namespace {

TEST(ChunkCut, WithoutAListCutsEqually) {
  const auto cut = ChunkCut::of(10, 4, {});
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut.value().count(), 3U);
  EXPECT_EQ(cut.value().largest(), 4U);
  EXPECT_EQ(cut.value().range(2).offset, 8U);
  EXPECT_EQ(cut.value().range(2).length, 2U);
}

TEST(ChunkCut, CutsWhereTheListSays) {
  const std::vector<uint64_t> starts{0, 3, 4, 8, 10};
  const auto cut = ChunkCut::of(10, 4, starts);
  ASSERT_TRUE(cut.ok());
  EXPECT_EQ(cut.value().count(), 4U);
  EXPECT_EQ(cut.value().largest(), 4U);
  EXPECT_EQ(cut.value().range(1).offset, 3U);
  EXPECT_EQ(cut.value().range(1).length, 1U);
}

TEST(ChunkCut, RefusesListsThatAreNoCut) {
  const std::vector<std::vector<uint64_t>> wrong{{1, 5, 10}, {0, 4, 8}, {0, 4, 4, 8, 10}, {0, 6, 4, 8, 10},
                                                 {0, 5, 10}, {0},       {0, 4, 8, 10, 12}};
  for (const std::vector<uint64_t>& starts : wrong) EXPECT_FALSE(ChunkCut::of(10, 4, starts).ok());
  EXPECT_FALSE(ChunkCut::of(10, 0, {}).ok());
}

TEST(ChunkCut, DecidesWhichFramesABlobHas) {
  const std::vector<uint8_t> image(20000, 7);
  const std::vector<uint64_t> starts{0, 1000, 9000, 20000};
  Job job;
  const File file = std::move(File::temporary("/tmp").value());
  BlobSink sink(std::move(File::duplicate(file.descriptor(), "blob").value()));
  EncodeOptions options;
  options.chunk_size = 16384;
  options.starts = starts;
  options.temporary_directory = "/tmp";
  const auto encoded = encode_image(MemorySource(image), sink, options, job);
  ASSERT_TRUE(encoded.ok());
  EXPECT_EQ(encoded.value().offsets.size(), starts.size());
  const File other = std::move(File::temporary("/tmp").value());
  BlobSink raw(std::move(File::duplicate(other.descriptor(), "blob").value()));
  const auto stored = store_image(MemorySource(image), raw, {.chunk_size = 16384, .starts = starts}, job);
  ASSERT_TRUE(stored.ok());
  EXPECT_EQ(stored.value().offsets, starts);
  options.chunk_size = 4096;
  EXPECT_FALSE(encode_image(MemorySource(image), sink, options, job).ok());
}

}  // namespace
}  // namespace seekable::layer
