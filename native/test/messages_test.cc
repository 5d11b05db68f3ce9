// SHA-512 of several messages in lanes, against one after the other.
#include "hash/messages.h"

#include <gtest/gtest.h>

#include <vector>

#include "hash/kernels.h"

namespace seekable::hash {
namespace {

class Messages : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { use_instruction_set(GetParam()); }
  void TearDown() override { use_instruction_set(""); }
};

INSTANTIATE_TEST_SUITE_P(InstructionSets, Messages,
                         testing::Values("", "avx512", "avx2", "sha512", "portable"));

TEST_P(Messages, OfAnyNumberAndLength) {
  std::vector<uint8_t> bytes(60'000);
  uint32_t random = 1;
  const auto next = [&random](uint32_t below) {
    return (random = random * 1664525 + 1013904223) / 65536 % below;
  };
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(next(256));
  for (int round = 0; round < 300; ++round) {
    std::vector<Bytes> messages(next(21));
    for (Bytes& message : messages)
      message = Bytes(bytes).subspan(next(1000), next(3) == 0 ? next(300) : next(20'000));
    std::vector<Sha512Digest> digests(messages.size());
    sha512_each(messages, digests);
    for (size_t i = 0; i < messages.size(); ++i) {
      ASSERT_EQ(digests[i], sha512(messages[i]))
          << i << " of " << messages.size() << ", " << messages[i].size();
    }
  }
}

}  // namespace
}  // namespace seekable::hash
