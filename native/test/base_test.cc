#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "base/arriving_file.h"
#include "base/buffer.h"
#include "base/checked.h"
#include "base/io.h"

namespace seekable {
namespace {

TEST(Checked, ReportsOverflow) {
  EXPECT_EQ(checked_add(1, 2), 3u);
  EXPECT_EQ(checked_add(UINT64_MAX, 1), std::nullopt);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 31), uint64_t{1} << 63);
  EXPECT_EQ(checked_multiply(uint64_t{1} << 32, uint64_t{1} << 32), std::nullopt);
  EXPECT_EQ(ceil_divide(UINT64_MAX, 2), uint64_t{1} << 63);
  EXPECT_EQ(round_up(4097, 4096), 8192u);
}

TEST(Error, FullDisksAreToldApart) {
  EXPECT_EQ(system_error("x", ENOSPC).code, ErrorCode::kNoSpace);
  EXPECT_EQ(system_error("x", EDQUOT).code, ErrorCode::kNoSpace);
  EXPECT_EQ(system_error("x", EIO).code, ErrorCode::kIo);
  EXPECT_EQ(system_error("x", EIO).why, "Input/output error");
}

Result<int> positive(int value) {
  if (value <= 0) return usage("value", "not positive");
  return value;
}

Result<int> twice(int value) { return 2 * TRY(positive(value)); }

TEST(Result, TryPassesValueOrError) {
  EXPECT_EQ(twice(4).value(), 8);
  ASSERT_FALSE(twice(0).ok());
  EXPECT_EQ(twice(0).error().why, "not positive");
}

TEST(File, ReadsBackWhatWasWritten) {
  auto file = File::temporary("/tmp");
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file.value().write_at(5, as_bytes("hello")).ok());
  EXPECT_EQ(file.value().size().value(), 10u);
  std::vector<uint8_t> bytes(5);
  ASSERT_TRUE(file.value().read_at(5, bytes).ok());
  EXPECT_EQ(as_text(bytes), "hello");
}

TEST(ArrivingFile, ReadsWaitForTheirBytes) {
  File written = std::move(File::temporary("/tmp").value());
  ArrivingFile file(std::move(File::duplicate(written.descriptor(), "blob").value()), 10);
  std::vector<uint8_t> bytes(5);
  EXPECT_FALSE(file.read_cached(0, bytes));
  std::thread reader([&] { EXPECT_TRUE(file.read_at(5, bytes).ok()); });
  ASSERT_TRUE(written.write_at(0, as_bytes("helloworld")).ok());
  file.arrived(5);
  file.arrived(10);
  reader.join();
  EXPECT_EQ(as_text(bytes), "world");
}

TEST(ArrivingFile, StopEndsTheWaiting) {
  File written = std::move(File::temporary("/tmp").value());
  ASSERT_TRUE(written.write_at(0, as_bytes("hello")).ok());
  ArrivingFile file(std::move(written), 10);
  file.arrived(5);
  std::vector<uint8_t> bytes(6);
  Status status = ok();
  std::thread reader([&] { status = file.read_at(0, bytes); });
  file.stop();
  reader.join();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCancelled);
  EXPECT_TRUE(file.read_at(0, MutableBytes(bytes).first(5)).ok());
  EXPECT_EQ(file.read_at(8, bytes).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(file.read_at(UINT64_MAX, bytes).error().code, ErrorCode::kCorrupt);
}

TEST(File, EndsEarlyIsCorrupt) {
  auto file = File::temporary("/tmp");
  ASSERT_TRUE(file.value().write_at(0, as_bytes("hello")).ok());
  std::vector<uint8_t> bytes(6);
  const Status status = file.value().read_at(0, bytes);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kCorrupt);
}

TEST(File, TemporaryFilesHaveNoName) {
  const auto file = File::temporary("/nonexistent");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::kIo);
}

TEST(File, ClosesItsDescriptorOnce) {
  int descriptor;
  {
    File file = std::move(File::temporary("/tmp").value());
    descriptor = file.descriptor();
    File other = std::move(file);
    EXPECT_EQ(file.descriptor(), -1);
    EXPECT_EQ(other.descriptor(), descriptor);
  }
  EXPECT_EQ(fcntl(descriptor, F_GETFD), -1);
}

TEST(Sources, RefuseWhatLiesOutside) {
  File file = std::move(File::temporary("/tmp").value());
  ASSERT_TRUE(file.write_at(0, as_bytes("0123456789")).ok());
  const FileSource slice(std::move(file), 2, 4);
  std::vector<uint8_t> bytes(3);
  ASSERT_TRUE(slice.read_at(1, bytes).ok());
  EXPECT_EQ(as_text(bytes), "345");
  EXPECT_FALSE(slice.read_at(2, bytes).ok());
  EXPECT_FALSE(slice.read_at(UINT64_MAX, bytes).ok());
  std::fill(bytes.begin(), bytes.end(), 0);
  ASSERT_TRUE(slice.read_cached(1, bytes));  // just written
  EXPECT_EQ(as_text(bytes), "345");
  EXPECT_FALSE(slice.read_cached(2, bytes));
  EXPECT_FALSE(slice.read_cached(UINT64_MAX, bytes));
  const MemorySource memory(as_bytes("abc"));
  EXPECT_FALSE(memory.read_at(1, bytes).ok());
}

TEST(Buffer, RefusesWhatThereIsNoMemoryFor) {
  EXPECT_TRUE(Buffer::allocate(0).ok());
  const auto buffer = Buffer::allocate(SIZE_MAX / 2);
  ASSERT_FALSE(buffer.ok());
  EXPECT_EQ(buffer.error().code, ErrorCode::kNoMemory);
}

}  // namespace
}  // namespace seekable
