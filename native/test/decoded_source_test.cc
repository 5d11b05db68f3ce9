// layer::DecodedSource: any bytes of an image, in any order and from several threads, out of its frames.
#include "layer/decoded_source.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "base/job.h"
#include "hash/sha2.h"
#include "zstd/frame.h"

namespace seekable::layer {
namespace {

constexpr size_t kChunk = 4096;

class CountedSource final : public ByteSource {
 public:
  explicit CountedSource(Bytes bytes) : source_(bytes) {}
  uint64_t size() const override { return source_.size(); }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    ++reads_;
    return source_.read_at(offset, out);
  }
  unsigned reads() const { return reads_; }

 private:
  MemorySource source_;
  mutable std::atomic<unsigned> reads_ = 0;
};

class DecodedSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::mt19937 random(7);
    image_.resize(37 * kChunk + 100);
    for (size_t i = 0; i < image_.size(); ++i)
      image_[i] = static_cast<uint8_t>(i % 7 == 0 ? random() : i / 64);
    zstd::FrameEncoder encoder = std::move(zstd::FrameEncoder::create(3, kChunk).value());
    table_.checksum_size = sizeof(hash::Sha512Digest);
    for (size_t start = 0; start < image_.size(); start += kChunk) {
      const Bytes chunk = Bytes(image_).subspan(start, std::min(kChunk, image_.size() - start));
      std::vector<uint8_t> frame(zstd::frame_bound(chunk.size()));
      frame.resize(encoder.encode(chunk, frame, Job()).value());
      const auto digest = hash::sha512(frame);
      table_.checksums.insert(table_.checksums.end(), digest.begin(), digest.end());
      table_.offsets.push_back(blob_.size());
      table_.starts.push_back(start);
      blob_.insert(blob_.end(), frame.begin(), frame.end());
    }
    table_.offsets.push_back(blob_.size());
    table_.starts.push_back(image_.size());
  }

  std::shared_ptr<DecodedSource> open(unsigned threads = 2) {
    return DecodedSource::open(std::make_shared<MemorySource>(blob_), table_, threads).value();
  }
  bool reads_right(const DecodedSource& source, uint64_t offset, size_t length) {
    std::vector<uint8_t> bytes(length);
    if (!source.read_at(offset, bytes).ok()) return false;
    return std::equal(bytes.begin(), bytes.end(), image_.begin() + static_cast<ptrdiff_t>(offset));
  }

  std::vector<uint8_t> image_;
  std::vector<uint8_t> blob_;
  FrameTable table_;
};

TEST_F(DecodedSourceTest, ReadsInOrder) {
  const auto source = open();
  ASSERT_EQ(source->size(), image_.size());
  for (size_t offset = 0; offset < image_.size(); offset += 1000) {
    ASSERT_TRUE(reads_right(*source, offset, std::min<size_t>(1000, image_.size() - offset))) << offset;
  }
  EXPECT_TRUE(reads_right(*source, 0, image_.size()));
  EXPECT_TRUE(reads_right(*source, image_.size(), 0));
}

// SHA-512 hashes eight frames in little more time than one.
TEST_F(DecodedSourceTest, AsksForFramesAheadEightAtATime) {
  const auto blob = std::make_shared<CountedSource>(blob_);
  const auto source = DecodedSource::open(blob, table_, 1).value();
  for (size_t frame = 0; frame < 8; ++frame) ASSERT_TRUE(reads_right(*source, frame * kChunk, 100));
  // A leap, behind all that was asked for before.
  ASSERT_TRUE(reads_right(*source, 36 * kChunk, 100));
  EXPECT_EQ(blob->reads(), 18u);
  ASSERT_TRUE(reads_right(*source, 8 * kChunk, 100));
}

TEST_F(DecodedSourceTest, ReadsAnywhereFromSeveralThreads) {
  const auto source = open();
  std::atomic<unsigned> wrong = 0;
  std::vector<std::thread> readers;
  for (unsigned seed = 0; seed < 4; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (int i = 0; i < 500; ++i) {
        const size_t offset = random() % image_.size();
        if (!reads_right(*source, offset,
                         random() % std::min<size_t>(3 * kChunk, image_.size() - offset + 1)))
          ++wrong;
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0u);
}

TEST_F(DecodedSourceTest, ADamagedFrameSpoilsNoOther) {
  blob_[table_.offsets[5] + 20] ^= 1;
  const auto source = open();
  std::vector<uint8_t> bytes(100);
  for (int round = 0; round < 2; ++round) {
    const Status status = source->read_at(5 * kChunk + 7, bytes);
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().code, ErrorCode::kMismatch);
    EXPECT_NE(status.error().what.find("frame 5"), std::string::npos);
    EXPECT_TRUE(reads_right(*source, 4 * kChunk, kChunk));
    EXPECT_TRUE(reads_right(*source, 6 * kChunk, 10 * kChunk));
  }
}

TEST_F(DecodedSourceTest, RefusesWhatIsOutside) {
  const auto source = open();
  std::vector<uint8_t> bytes(10);
  EXPECT_FALSE(source->read_at(image_.size() - 9, bytes).ok());
  EXPECT_FALSE(source->read_at(UINT64_MAX, bytes).ok());
  table_.starts.pop_back();
  EXPECT_FALSE(DecodedSource::open(std::make_shared<MemorySource>(blob_), table_, 1).ok());
}

TEST_F(DecodedSourceTest, EndsWhileFramesAreOnTheirWay) {
  for (int i = 0; i < 50; ++i) {
    const auto source = open(3);
    EXPECT_TRUE(reads_right(*source, 0, 1));
  }
}

}  // namespace
}  // namespace seekable::layer
