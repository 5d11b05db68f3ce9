// A layer's file, and the log of what is read of it.
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "fuse/layer_file.h"
#include "fuse/read_log.h"

namespace seekable::fuse {
namespace {

constexpr uint64_t kChunk = 4096;

TEST(ReadLog, TellsEachBlockOnceInTheOrderOfReading) {
  ReadLog log(3 * kChunk - 100);
  log.note(kChunk + 5, 10);
  log.note(2 * kChunk, kChunk - 100);  // goes on where the one before ended
  log.note(0, 1);
  log.note(0, 3 * kChunk - 100);  // nothing new
  log.note(0, 0);
  const std::vector<FirstRead> reads = log.take();
  ASSERT_EQ(reads.size(), 2U);
  EXPECT_EQ(reads[0].offset, kChunk);
  EXPECT_EQ(reads[0].length, 2 * kChunk - 100);
  EXPECT_EQ(reads[1].offset, 0U);
  EXPECT_EQ(reads[1].length, kChunk);
  EXPECT_LE(reads[0].milliseconds, reads[1].milliseconds);
  EXPECT_TRUE(log.take().empty());
}

TEST(LayerFile, RefusesWhatMakesNoSense) {
  const uint8_t none[] = {0};
  const auto refused = [&](uint64_t node, std::vector<uint64_t> starts, Bytes present) {
    return !LayerFile::create(
                {node, "x", std::move(File::temporary("/tmp").value()), std::move(starts), present})
                .ok();
  };
  EXPECT_FALSE(refused(2, {0, 10}, none));
  EXPECT_TRUE(refused(1, {0, 10}, none));
  EXPECT_TRUE(refused(uint64_t{1} << 53, {0, 10}, none));
  EXPECT_TRUE(refused(2, {}, none));
  EXPECT_TRUE(refused(2, {1, 10}, none));
  EXPECT_TRUE(refused(2, {0, 10, 10}, none));
  EXPECT_TRUE(refused(2, {0, 10}, {}));
}

}  // namespace
}  // namespace seekable::fuse
