#include "erofs/crc32c.h"

#include <gtest/gtest.h>

namespace seekable::erofs {
namespace {

TEST(Crc32c, MatchesTheCheckValueBeforeItsFinalInversion) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), ~0xE3069283U);
  EXPECT_EQ(crc32c(as_bytes("")), 0xFFFFFFFFU);
}

TEST(Crc32c, ContinuesWhereAnEarlierCallEnded) {
  EXPECT_EQ(crc32c(as_bytes("56789"), crc32c(as_bytes("1234"))), crc32c(as_bytes("123456789")));
}

}  // namespace
}  // namespace seekable::erofs
