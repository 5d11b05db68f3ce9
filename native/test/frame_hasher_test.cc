#include "layer/frame_hasher.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace seekable::layer {
namespace {

constexpr size_t kFrameSize = 100'000;

// The length of frame i, from 0 to all that fits.
size_t length_of(uint64_t index) { return index % 5 == 0 ? kFrameSize : index * 7919 % kFrameSize; }

void fill(uint64_t index, MutableBytes frame) {
  for (size_t i = 0; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(index * 31 + i / 3);
}

// Hashes `frames` frames with `threads` threads, each with one buffer of its own.
void expect_digests(uint64_t frames, unsigned threads) {
  std::vector<uint8_t> digests(frames * 64);
  FrameHasher hasher(digests.data());
  ASSERT_TRUE(hasher.allocate(frames, kFrameSize).ok());
  std::atomic<uint64_t> next{0};
  const auto work = [&] {
    Buffer buffer = std::move(Buffer::allocate(kFrameSize).value());
    for (uint64_t i = next++; i < frames; i = next++) {
      fill(i, buffer.first(length_of(i)));
      hasher.add(i, buffer, length_of(i));
    }
  };
  std::vector<std::thread> helpers;
  for (unsigned i = 0; i < threads; ++i) helpers.emplace_back(work);
  for (std::thread& helper : helpers) helper.join();
  hasher.finish();

  std::vector<uint8_t> frame(kFrameSize);
  for (uint64_t i = 0; i < frames; ++i) {
    const MutableBytes bytes = MutableBytes(frame).first(length_of(i));
    fill(i, bytes);
    const hash::Sha512Digest expected = hash::sha512(bytes);
    EXPECT_TRUE(
        std::equal(expected.begin(), expected.end(), digests.begin() + static_cast<ptrdiff_t>(i * 64)))
        << "frame " << i << " of " << frames;
  }
}

TEST(FrameHasher, NoFrames) { expect_digests(0, 1); }
TEST(FrameHasher, FewFramesAreHashedAtOnce) { expect_digests(3, 2); }
TEST(FrameHasher, ManyFramesByOneThread) { expect_digests(101, 1); }
TEST(FrameHasher, ManyFramesByManyThreads) { expect_digests(500, 8); }

TEST(FrameHasher, LargeFramesAreNotHeld) {
  uint8_t digests[64 * 100];
  FrameHasher hasher(digests);
  ASSERT_TRUE(hasher.allocate(100, size_t{1} << 40).ok());  // would not be there to allocate
  Buffer buffer = std::move(Buffer::allocate(10).value());
  const uint8_t* before = buffer.data();
  fill(0, buffer.first(10));
  hasher.add(0, buffer, 10);
  EXPECT_EQ(buffer.data(), before);
}

}  // namespace
}  // namespace seekable::layer
