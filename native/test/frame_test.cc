#include "zstd/frame.h"

#include <gtest/gtest.h>
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <string>
#include <vector>

namespace seekable::zstd {
namespace {

std::vector<uint8_t> sample(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>((i * i) >> (i % 11));
  return bytes;
}

std::vector<uint8_t> encode(Bytes chunk, size_t chunk_size = 1 << 20) {
  FrameEncoder encoder = std::move(FrameEncoder::create(3, chunk_size).value());
  std::vector<uint8_t> frame(frame_bound(chunk.size()));
  frame.resize(encoder.encode(chunk, frame, Job()).value());
  return frame;
}

Status decode(Bytes frame, size_t size) {
  std::vector<uint8_t> out(size);
  return FrameDecoder::create().value().decode(frame, out, "frame 7");
}

void expect_corrupt(const Status& status, const std::string& why) {
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(status.error().what, "frame 7");
  EXPECT_NE(status.error().why.find(why), std::string::npos) << status.error().why;
}

TEST(Frame, CarriesContentSizeAndChecksum) {
  const auto frame = encode(sample(100000));
  ZSTD_FrameHeader header;
  ASSERT_EQ(ZSTD_getFrameHeader(&header, frame.data(), frame.size()), 0u);
  EXPECT_EQ(header.frameContentSize, 100000u);
  EXPECT_EQ(header.checksumFlag, 1u);
}

TEST(Frame, DecodesToTheChunk) {
  for (const size_t size : {1u, 4096u, 100000u}) {
    const auto chunk = sample(size);
    std::vector<uint8_t> out(size);
    ASSERT_TRUE(FrameDecoder::create().value().decode(encode(chunk), out, "frame").ok());
    EXPECT_EQ(out, chunk);
  }
}

TEST(Frame, IsThatOfOneCallToTheLibrary) {
  for (const size_t size : {0u, 1u, 100000u, 131072u, 131073u, 1000000u}) {
    const auto chunk = sample(size);
    std::vector<uint8_t> frame(frame_bound(size));
    ZSTD_CCtx* context = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 20);
    ZSTD_CCtx_setParameter(context, ZSTD_c_hashLog, 16);
    ZSTD_CCtx_setParameter(context, ZSTD_c_blockSplitterLevel, 1);
    frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), chunk.data(), size));
    ZSTD_freeCCtx(context);
    EXPECT_EQ(encode(chunk), frame) << size;
  }
}

TEST(Frame, EndsWhenItsJobIsCancelled) {
  const auto chunk = sample(300000);
  FrameEncoder encoder = std::move(FrameEncoder::create(3, 1 << 20).value());
  std::vector<uint8_t> out(frame_bound(chunk.size()));
  Job job;
  job.cancel();
  EXPECT_EQ(encoder.encode(chunk, out, job).error().code, ErrorCode::kCancelled);
  out.resize(encoder.encode(chunk, out, Job()).value());
  EXPECT_EQ(out, encode(chunk));
}

TEST(Frame, DoesNotDependOnWhatWasEncodedBefore) {
  const auto first = sample(50000);
  const auto second = sample(70000);
  FrameEncoder encoder = std::move(FrameEncoder::create(3, 1 << 20).value());
  std::vector<uint8_t> out(frame_bound(second.size()));
  ASSERT_TRUE(encoder.encode(first, out, Job()).ok());
  out.resize(encoder.encode(second, out, Job()).value());
  EXPECT_EQ(out, encode(second));
}

TEST(Frame, RefusesWhatIsNotExactlyOneFrameOfTheChunk) {
  const auto chunk = sample(10000);
  const auto frame = encode(chunk);
  expect_corrupt(decode(frame, 9999), "declares 10000 bytes where the chunk has 9999");
  expect_corrupt(decode(Bytes(frame).first(frame.size() - 1), 10000), "cut short");
  expect_corrupt(decode(Bytes(frame).first(3), 10000), "ends inside its header");
  expect_corrupt(decode({}, 10000), "ends inside its header");
  auto twice = frame;
  twice.insert(twice.end(), frame.begin(), frame.end());
  expect_corrupt(decode(twice, 10000), "belong to no chunk");
  auto wrong_magic = frame;
  wrong_magic[0] ^= 1;
  expect_corrupt(decode(wrong_magic, 10000), "no zstd frame begins here");
  auto wrong_checksum = frame;
  wrong_checksum.back() ^= 1;
  expect_corrupt(decode(wrong_checksum, 10000), "does not decode");
  const uint8_t skippable[] = {0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0};
  expect_corrupt(decode(skippable, 10000), "skippable");
}

// Without a declared size only decoding can tell.
TEST(Frame, RefusesTheWrongLengthOfFramesThatDeclareNone) {
  const auto chunk = sample(10000);
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  std::vector<uint8_t> frame(frame_bound(chunk.size()));
  frame.resize(ZSTD_compress2(context, frame.data(), frame.size(), chunk.data(), chunk.size()));
  ZSTD_freeCCtx(context);
  EXPECT_TRUE(decode(frame, 10000).ok());
  expect_corrupt(decode(frame, 10001), "decodes to 10000 bytes where the chunk has 10001");
  expect_corrupt(decode(frame, 9999), "does not decode");
}

}  // namespace
}  // namespace seekable::zstd
