// The image of a tar, as layers are encoded from it: metadata that is stored, and data that is not.
#include "layer/build_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "base/buffer.h"
#include "layer/tar_to_tree.h"
#include "test/tar_builder.h"

namespace seekable::layer {
namespace {

const std::string kTemporary = testing::TempDir();

// Files of all sizes; with 20,000 files the metadata is too large for memory.
std::string some_tar(int files) {
  test::TarBuilder tar;
  for (int i = 0; i < files; ++i) {
    const std::string content(static_cast<size_t>(i * 37 % 9000), static_cast<char>('a' + i % 26));
    tar.file("d" + std::to_string(i % 97) + "/file-" + std::to_string(i), content);
  }
  return tar.bytes();
}

std::vector<uint8_t> read_all(const ByteSource& source) {
  std::vector<uint8_t> bytes(source.size(), 0xEE);
  const Status status = source.read_at(0, bytes);
  EXPECT_TRUE(status.ok()) << status.error().why;
  return bytes;
}

class BuildImage : public testing::TestWithParam<int> {
 protected:
  const std::string tar_ = some_tar(GetParam());
  const std::shared_ptr<ByteSource> source_ = std::make_shared<MemorySource>(as_bytes(tar_));
  Job job_;

  BuiltImage build(unsigned threads) {
    const TreeOptions options{.threads = threads, .temporary_directory = kTemporary};
    return std::move(build_image(source_, options, {}, job_).value());
  }
};
INSTANTIATE_TEST_SUITE_P(Files, BuildImage, testing::Values(0, 1, 300, 20000));

TEST_P(BuildImage, IsWhatWasPlannedWithItsUuid) {
  const BuiltImage built = build(2);
  const std::vector<uint8_t> bytes = read_all(*built.image);
  const auto planned = std::move(
      erofs::plan_image(std::move(tar_to_tree(*source_, job_).value().tree), *source_, {}, job_).value());
  ASSERT_EQ(built.summary.metadata_size, planned->summary().metadata_size);
  planned->set_uuid(Bytes(bytes).subspan(1024 + 48, 16));
  EXPECT_TRUE(bytes == read_all(*planned));
  EXPECT_TRUE(std::any_of(&bytes[1024 + 48], &bytes[1024 + 64], [](uint8_t byte) { return byte != 0; }));
}

TEST_P(BuildImage, IsTheSameOnAnyNumberOfThreadsAndInAnyPieces) {
  const std::vector<uint8_t> whole = read_all(*build(1).image);
  const BuiltImage built = build(5);
  ASSERT_TRUE(whole == read_all(*built.image));
  std::vector<uint8_t> piece(70001);
  for (uint64_t offset = 0; offset < whole.size(); offset += piece.size()) {
    const size_t length = std::min<uint64_t>(piece.size(), whole.size() - offset);
    ASSERT_TRUE(built.image->read_at(offset, MutableBytes(piece).first(length)).ok());
    ASSERT_TRUE(std::equal(piece.begin(), piece.begin() + static_cast<ptrdiff_t>(length),
                           whole.begin() + static_cast<ptrdiff_t>(offset)));
  }
  for (uint64_t offset = 0; offset < std::min<uint64_t>(whole.size(), 3000); ++offset) {
    ASSERT_TRUE(built.image->read_at(offset, MutableBytes(piece).first(2)).ok());
    ASSERT_EQ(piece[0], whole[offset]) << offset;
  }
}

TEST_P(BuildImage, EndsWhereItEnds) {
  const BuiltImage built = build(2);
  uint8_t byte;
  EXPECT_TRUE(built.image->read_at(built.image->size(), {}).ok());
  EXPECT_EQ(built.image->read_at(built.image->size(), {&byte, 1}).error().code, ErrorCode::kUsage);
  EXPECT_EQ(built.image->read_at(UINT64_MAX, {&byte, 1}).error().code, ErrorCode::kUsage);
}

TEST(BuildImageFiles, OnlyLargeMetadataNeedsTheDirectory) {
  Job job;
  const TreeOptions options{.threads = 2, .temporary_directory = "/nonexistent"};
  const std::string small = some_tar(300), large = some_tar(20000);
  EXPECT_TRUE(build_image(std::make_shared<MemorySource>(as_bytes(small)), options, {}, job).ok());
  const auto refused = build_image(std::make_shared<MemorySource>(as_bytes(large)), options, {}, job);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kIo);
}

TEST(BuildImageFiles, NoneIsLeftBehind) {
  const std::filesystem::path directory = kTemporary + "/build_image";
  std::filesystem::create_directories(directory);
  Job job;
  const std::string tar = some_tar(20000);
  const auto built = build_image(std::make_shared<MemorySource>(as_bytes(tar)),
                                 {.threads = 2, .temporary_directory = directory}, {}, job);
  ASSERT_TRUE(built.ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory));
}

TEST(BuildImageFiles, StopsWhenTheJobIsCancelled) {
  Job job;
  const std::string tar = some_tar(300);
  job.cancel();
  const auto built = build_image(std::make_shared<MemorySource>(as_bytes(tar)), {}, {}, job);
  ASSERT_FALSE(built.ok());
  EXPECT_EQ(built.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace seekable::layer
