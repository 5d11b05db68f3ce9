#include "layer/inflate_frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "zstd/frame.h"

namespace seekable::layer {
namespace {

constexpr size_t kSize = 3'000'000;
constexpr uint64_t kOffset = 5000;

std::vector<uint8_t> chunk() {
  std::vector<uint8_t> bytes(kSize);
  for (size_t i = 0; i < kSize; ++i) bytes[i] = static_cast<uint8_t>((i * i) >> (i % 11));
  return bytes;
}

std::vector<uint8_t> frame_of(Bytes bytes) {
  std::vector<uint8_t> frame(zstd::frame_bound(bytes.size()));
  frame.resize(zstd::FrameEncoder::create(3, bytes.size()).value().encode(bytes, frame, Job()).value());
  return frame;
}

class InflateFrame : public testing::Test {
 protected:
  Result<hash::Sha256Digest> inflate(Bytes frame, uint64_t length = kSize, uint64_t zeros = 0) {
    Job job;
    return inflate_frame(MemorySource(frame), {length, zeros}, target_, kOffset, "frame 7", job);
  }

  void expect_corrupt(Bytes frame, uint64_t length, const std::string& why) {
    const auto status = inflate(frame, length);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(status.error().what, "frame 7");
    EXPECT_NE(status.error().why.find(why), std::string::npos) << status.error().why;
  }

  File target_ = std::move(File::temporary(testing::TempDir()).value());
};

TEST_F(InflateFrame, WritesTheChunkToItsPlace) {
  const auto bytes = chunk();
  EXPECT_EQ(inflate(frame_of(bytes)).value(), hash::sha256(bytes));
  EXPECT_EQ(target_.size().value(), kOffset + kSize);
  std::vector<uint8_t> written(kSize);
  ASSERT_TRUE(target_.read_at(kOffset, written).ok());
  EXPECT_EQ(written, bytes);
}

TEST_F(InflateFrame, CountsZerosBehindTheChunkWithoutWritingThem) {
  auto bytes = chunk();
  const auto frame = frame_of(bytes);
  bytes.resize(kSize + 5000);
  EXPECT_EQ(inflate(frame, kSize, 5000).value(), hash::sha256(bytes));
  EXPECT_EQ(target_.size().value(), kOffset + kSize);
}

TEST_F(InflateFrame, WritesNothingBehindTheChunk) {
  const auto frame = frame_of(chunk());
  expect_corrupt(frame, kSize - 1, "decodes to more than the 2999999 bytes");
  EXPECT_LE(target_.size().value(), kOffset + kSize - 1);
  expect_corrupt(frame, kSize + 1, "decodes to 3000000 bytes where the chunk has 3000001");
}

TEST_F(InflateFrame, RefusesWhatIsNoWholeFrame) {
  auto frame = frame_of(chunk());
  expect_corrupt(Bytes(frame).first(frame.size() - 1), kSize, "cut short");
  frame[frame.size() / 2] ^= 0x55;
  EXPECT_FALSE(inflate(frame).ok());
  expect_corrupt(Bytes(), kSize, "cut short");
}

TEST_F(InflateFrame, EndsWhenItsJobIsCancelled) {
  Job job;
  job.cancel();
  const auto frame = frame_of(chunk());
  const auto status = inflate_frame(MemorySource(frame), {.length = kSize}, target_, kOffset, "frame 7", job);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace seekable::layer
