#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <random>
#include <vector>

#include "zstd/prefix.h"

namespace seekable::zstd {
namespace {

using Data = std::vector<uint8_t>;

// Compressible, but not by much: four values at random.
Data sample(size_t size) {
  Data data(size);
  std::mt19937 random(7);
  std::generate(data.begin(), data.end(), [&] { return static_cast<uint8_t>('a' + random() % 4); });
  return data;
}

// With a window of its own choice when `window_log` is 0; its header holds the content's size only then.
Data frame_of(const Data& data, int window_log = 0) {
  Data frame(ZSTD_compressBound(data.size()));
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  ZSTD_inBuffer from{data.data(), data.size(), 0};
  ZSTD_outBuffer to{frame.data(), frame.size(), 0};
  if (window_log != 0) ZSTD_compressStream2(context, &to, &from, ZSTD_e_continue);
  EXPECT_EQ(ZSTD_compressStream2(context, &to, &from, ZSTD_e_end), 0U);
  ZSTD_freeCCtx(context);
  frame.resize(to.pos);
  return frame;
}

TEST(ZstdPrefix, AnyPrefixOfAFrame) {
  const Data data = sample(400000);
  const Data frame = frame_of(data);
  for (const size_t size : {1U, 100U, 131072U, 131073U, 399999U, 400000U}) {
    Data out(size);
    ASSERT_TRUE(decode_prefix(frame, out, false, "frame").ok()) << size;
    EXPECT_TRUE(std::equal(out.begin(), out.end(), data.begin())) << size;
  }
}

TEST(ZstdPrefix, WholeMeansThatTheFrameEndsThere) {
  const Data data = sample(5000);
  Data frame = frame_of(data);
  frame.resize(frame.size() + 10);  // a frame need not fill its physical cluster
  Data out(5000);
  EXPECT_TRUE(decode_prefix(frame, out, true, "frame").ok());
  EXPECT_EQ(out, data);
  out.resize(4999);
  EXPECT_EQ(decode_prefix(frame, out, true, "frame").error().code, ErrorCode::kCorrupt);
  out.resize(5001);
  EXPECT_EQ(decode_prefix(frame, out, true, "frame").error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(decode_prefix(frame, out, false, "frame").error().code, ErrorCode::kCorrupt);
}

TEST(ZstdPrefix, CutShortOrDamaged) {
  const Data frame = frame_of(sample(200000));
  for (size_t length = 0; length < frame.size(); length += 997) {
    Data out(200000);
    EXPECT_FALSE(decode_prefix(Bytes(frame).first(length), out, false, "frame").ok()) << length;
  }
  Data damaged = frame;
  damaged[0] ^= 1;
  Data out(10);
  EXPECT_EQ(decode_prefix(damaged, out, false, "frame").error().code, ErrorCode::kCorrupt);
}

TEST(ZstdPrefix, RefusesAWindowThatNoExtentNeeds) {
  const Data data = sample(300000);
  Data out(10);
  EXPECT_TRUE(decode_prefix(frame_of(data, 24), out, false, "frame").ok());
  EXPECT_EQ(decode_prefix(frame_of(data, 27), out, false, "frame").error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace seekable::zstd
