// encode_image and decode_image together: what one writes the other reads, and nothing else.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "layer/blob_sink.h"
#include "layer/decode_image.h"
#include "layer/encode_image.h"

namespace seekable::layer {
namespace {

constexpr uint32_t kChunk = 16384;

std::vector<uint8_t> image_of(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<uint8_t>((i >> 3) ^ (i / 1000) ^ (i % 5 == 0 ? i * 37 : 0));
  return bytes;
}

struct Blob {
  EncodedImage encoded;
  hash::Sha256Digest digest;
  std::vector<uint8_t> bytes;  // frames, then the tree

  FrameTable table(uint64_t image_size) const {
    FrameTable table{.compressed = true,
                     .offsets = encoded.offsets,
                     .starts = {},
                     .checksums = encoded.checksums,
                     .checksum_size = sizeof(hash::Sha512Digest)};
    for (uint64_t i = 0; i < encoded.offsets.size(); ++i) {
      table.starts.push_back(std::min<uint64_t>(i * kChunk, image_size));
    }
    return table;
  }
  ExpectedTree tree(uint64_t image_size) const {
    return {.parameters = {},
            .root = encoded.tree->root(),
            .data_size = image_size,
            .location = ExpectedTree::Location::kBlob,
            .offset = encoded.offsets.back()};
  }
};

Blob encode(const std::vector<uint8_t>& image, unsigned threads = 2) {
  Job job;
  File file = std::move(File::temporary("/tmp").value());
  BlobSink sink(std::move(File::duplicate(file.descriptor(), "blob").value()));
  const EncodeOptions options{.chunk_size = kChunk,
                              .level = 3,
                              .threads = threads,
                              .verity = verity::Parameters{},
                              .temporary_directory = "/tmp"};
  auto encoded = encode_image(MemorySource(image), sink, options, job);
  EXPECT_TRUE(encoded.ok());
  EXPECT_TRUE(sink.write_all(*encoded.value().tree, job).ok());
  Blob blob{std::move(encoded.value()), sink.finish(), {}};
  blob.bytes.resize(file.size().value());
  EXPECT_EQ(blob.bytes.size(), sink.size());
  EXPECT_TRUE(file.read_at(0, blob.bytes).ok());
  return blob;
}

class BlobTest : public testing::Test {
 protected:
  static constexpr size_t kSize = 5 * kChunk + 1234;

  Result<DecodedImage> decode(const FrameTable& table, std::optional<ExpectedTree> tree = {}) {
    Job job;
    const DecodeOptions options{
        .target = &target_, .threads = 2, .tree = std::move(tree), .temporary_directory = "/tmp"};
    return decode_image(MemorySource(blob_.bytes), table, options, job);
  }
  Result<DecodedImage> decode() { return decode(blob_.table(kSize), blob_.tree(kSize)); }

  void expect_refusal(const Result<DecodedImage>& result, ErrorCode code, const std::string& message) {
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code, code);
    const std::string text = result.error().what + ": " + result.error().why;
    EXPECT_NE(text.find(message), std::string::npos) << text;
  }

  const std::vector<uint8_t> image_ = image_of(kSize);
  Blob blob_ = encode(image_);
  File target_ = std::move(File::temporary("/tmp").value());
};

TEST_F(BlobTest, RoundTrip) {
  const auto decoded = decode();
  ASSERT_TRUE(decoded.ok()) << decoded.error().what << decoded.error().why;
  EXPECT_EQ(decoded.value().diff_id, hash::sha256(image_));
  EXPECT_EQ(decoded.value().diff_id, blob_.encoded.diff_id);
  EXPECT_EQ(decoded.value().blob_digest, blob_.digest);
  EXPECT_EQ(decoded.value().blob_digest, hash::sha256(blob_.bytes));
  std::vector<uint8_t> out(target_.size().value());
  ASSERT_TRUE(target_.read_at(0, out).ok());
  EXPECT_EQ(out, image_);
}

TEST_F(BlobTest, BytesDoNotDependOnThreads) {
  for (const unsigned threads : {1u, 3u, 8u}) EXPECT_EQ(encode(image_, threads).bytes, blob_.bytes);
}

TEST_F(BlobTest, ChecksumsAreOfWholeFrames) {
  const auto& [diff_id, offsets, checksums, tree] = blob_.encoded;
  ASSERT_EQ(checksums.size(), 64 * (offsets.size() - 1));
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const auto digest = hash::sha512(Bytes(blob_.bytes).subspan(offsets[i], offsets[i + 1] - offsets[i]));
    EXPECT_EQ(std::memcmp(digest.data(), checksums.data() + 64 * i, 64), 0);
  }
}

TEST_F(BlobTest, EveryFlippedByteOfAFrameIsFound) {
  const uint64_t begin = blob_.encoded.offsets[2];
  for (uint64_t i = begin; i < blob_.encoded.offsets[3]; i += 97) {
    blob_.bytes[i] ^= 0x40;
    expect_refusal(decode(), ErrorCode::kMismatch, "frame 2 at byte " + std::to_string(begin));
    blob_.bytes[i] ^= 0x40;
  }
}

TEST_F(BlobTest, EveryFlippedByteOfTheTreeIsFound) {
  for (uint64_t i = blob_.encoded.offsets.back(); i < blob_.bytes.size(); i += 61) {
    blob_.bytes[i] ^= 1;
    expect_refusal(decode(), ErrorCode::kMismatch, "dm-verity tree");
    blob_.bytes[i] ^= 1;
  }
}

TEST_F(BlobTest, AWrongRootIsFound) {
  ExpectedTree tree = blob_.tree(kSize);
  tree.root[5] ^= 1;
  expect_refusal(decode(blob_.table(kSize), tree), ErrorCode::kMismatch, "root digest");
}

TEST_F(BlobTest, ATreeThatIsCutShortIsFound) {
  blob_.bytes.pop_back();
  expect_refusal(decode(), ErrorCode::kCorrupt, "ends at byte");
}

TEST_F(BlobTest, ATreeOfLessThanTheDataIsFound) {
  ExpectedTree tree = blob_.tree(kSize);
  tree.data_size -= 4096;
  expect_refusal(decode(blob_.table(kSize), tree), ErrorCode::kMismatch, "root digest");
  tree.data_size = kSize + 1;
  expect_refusal(decode(blob_.table(kSize), tree), ErrorCode::kCorrupt, "covers");
}

TEST_F(BlobTest, ChunksMayLieAcrossBlocksOfTheTree) {
  ExpectedTree tree = blob_.tree(kSize);
  tree.parameters.data_block_size = tree.parameters.hash_block_size = 65536;
  Job job;
  const auto built = verity::build(tree.parameters, MemorySource(image_), 1, "/tmp", job);
  ASSERT_TRUE(built.ok());
  tree.root = built.value().root();
  blob_.bytes.resize(blob_.encoded.offsets.back() + built.value().size());
  ASSERT_TRUE(built.value().read_at(0, MutableBytes(blob_.bytes).subspan(blob_.encoded.offsets.back())).ok());
  EXPECT_TRUE(decode(blob_.table(kSize), tree).ok());
  blob_.bytes.back() ^= 1;
  EXPECT_FALSE(decode(blob_.table(kSize), tree).ok());
}

TEST_F(BlobTest, HostileTablesAreRefusedBeforeAnythingIsAllocated) {
  FrameTable table = blob_.table(kSize);
  table.offsets[2] = table.offsets[1];
  expect_refusal(decode(table), ErrorCode::kCorrupt, "frame 1");
  table = blob_.table(kSize);
  table.offsets.back() = blob_.bytes.size() + 1;
  expect_refusal(decode(table), ErrorCode::kCorrupt, "outside the blob");
  table = blob_.table(kSize);
  table.offsets.front() = 16;
  expect_refusal(decode(table), ErrorCode::kCorrupt, "byte 0");
  table = blob_.table(kSize);
  table.checksums.pop_back();
  expect_refusal(decode(table), ErrorCode::kUsage, "differ in length");
  table = {.compressed = true,
           .offsets = {0, blob_.bytes.size()},
           .starts = {0, 1},
           .checksums = {},
           .checksum_size = 0};
  expect_refusal(decode(table), ErrorCode::kCorrupt, "longer than any frame");
}

TEST_F(BlobTest, RawChunksAreCopied) {
  blob_.bytes = image_;
  const FrameTable table{.compressed = false,
                         .offsets = {0, 4096, kSize},
                         .starts = {0, 4096, kSize},
                         .checksums = {},
                         .checksum_size = 0};
  const auto decoded = decode(table);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value().diff_id, hash::sha256(image_));
}

TEST(Blob, AnEmptyImageHasNoFramesAndNoTree) {
  Job job;
  BlobSink sink(std::move(File::temporary("/tmp").value()));
  EncodeOptions options{
      .chunk_size = kChunk, .level = 3, .threads = 1, .verity = {}, .temporary_directory = "/tmp"};
  const auto encoded = encode_image(MemorySource({}), sink, options, job);
  ASSERT_TRUE(encoded.ok());
  EXPECT_EQ(encoded.value().offsets, std::vector<uint64_t>{0});
  options.verity = verity::Parameters{};
  const auto refused = encode_image(MemorySource({}), sink, options, job);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace seekable::layer
