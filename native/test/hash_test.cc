#include <gtest/gtest.h>
#include <openssl/evp.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "hash/kernels.h"
#include "hash/messages.h"
#include "hash/sha2.h"

namespace seekable::hash {
namespace {

std::string hex(Bytes bytes) {
  std::string out;
  for (const uint8_t byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    out += digits;
  }
  return out;
}

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>((i * 2654435761u) >> 24 ^ i >> 12);
  return bytes;
}

std::string openssl(Algorithm algorithm, Bytes first, Bytes second = {}) {
  std::vector<uint8_t> message(first.begin(), first.end());
  message.insert(message.end(), second.begin(), second.end());
  uint8_t digest[EVP_MAX_MD_SIZE];
  const EVP_MD* md = algorithm == Algorithm::kSha256 ? EVP_sha256() : EVP_sha512();
  EXPECT_EQ(EVP_Digest(message.data(), message.size(), digest, nullptr, md, nullptr), 1);
  return hex({digest, digest_size(algorithm)});
}

// Runs every test with each instruction set; a set that the CPU lacks runs plain C++ again.
class Sha2 : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { use_instruction_set(GetParam()); }
  void TearDown() override { use_instruction_set(""); }
};

INSTANTIATE_TEST_SUITE_P(InstructionSets, Sha2,
                         testing::Values("", "avx512", "avx2", "sha-ni", "sha2", "sha512", "portable"));

TEST_P(Sha2, KnownDigests) {
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(hex(sha256(as_bytes("abc"))), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha512(as_bytes("abc"))),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST_P(Sha2, OneMessageOfAnyLengthAtAnyOffset) {
  const std::vector<uint8_t> bytes = pattern(5000);
  for (size_t length = 0; length < 300; ++length) {
    const Bytes message = Bytes(bytes).subspan(length % 17, length);
    EXPECT_EQ(hex(sha256(message)), openssl(Algorithm::kSha256, message)) << length;
    EXPECT_EQ(hex(sha512(message)), openssl(Algorithm::kSha512, message)) << length;
  }
  EXPECT_EQ(hex(sha256(bytes)), openssl(Algorithm::kSha256, bytes));
  EXPECT_EQ(hex(sha512(bytes)), openssl(Algorithm::kSha512, bytes));
}

TEST_P(Sha2, StreamInPieces) {
  const std::vector<uint8_t> bytes = pattern(3000);
  for (size_t piece = 1; piece < 200; ++piece) {
    Sha256 stream;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      stream.update(Bytes(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    }
    EXPECT_EQ(hex(stream.finish()), openssl(Algorithm::kSha256, bytes)) << piece;
  }
}

TEST_P(Sha2, TwoStreamsOfDifferentPieces) {
  const std::vector<uint8_t> bytes = pattern(9000);
  for (size_t step = 1; step < 200; ++step) {
    Sha256 a, b;
    size_t x = 0, y = 0;
    while (x < bytes.size() || y < 4500) {
      const size_t more_x = std::min(step * 7, bytes.size() - x),
                   more_y = std::min(step * 3 + x % 5, 4500 - y);
      Sha256::update_both(a, Bytes(bytes).subspan(x, more_x), b, Bytes(bytes).subspan(y + 1, more_y));
      x += more_x;
      y += more_y;
    }
    EXPECT_EQ(hex(a.finish()), openssl(Algorithm::kSha256, bytes)) << step;
    EXPECT_EQ(hex(b.finish()), openssl(Algorithm::kSha256, Bytes(bytes).subspan(1, 4500))) << step;
  }
}

void expect_blocks(Algorithm algorithm, size_t block_size, size_t count, size_t salt_size, size_t offset) {
  const std::vector<uint8_t> bytes = pattern(offset + count * block_size), salt = pattern(salt_size);
  const size_t size = digest_size(algorithm);
  std::vector<uint8_t> out(count * size + 1, 0xee);
  hash_many(algorithm, bytes.data() + offset, block_size, count, salt, out.data());
  for (size_t i = 0; i < count; ++i) {
    EXPECT_EQ(hex(Bytes(out).subspan(i * size, size)),
              openssl(algorithm, salt, Bytes(bytes).subspan(offset + i * block_size, block_size)))
        << digest_size(algorithm) << " block " << i << " of " << count << " x " << block_size << ", salt "
        << salt_size;
  }
  EXPECT_EQ(out.back(), 0xee);
}

TEST_P(Sha2, ManyBlocksOfAnyCount) {
  for (size_t count = 0; count <= 40; ++count) {
    for (const Algorithm algorithm : {Algorithm::kSha256, Algorithm::kSha512}) {
      expect_blocks(algorithm, 512, count, 0, count % 3);
      expect_blocks(algorithm, 1024, count, 32, count % 7);
    }
  }
}

TEST_P(Sha2, ManyBlocksWithAnySalt) {
  for (size_t salt_size = 0; salt_size <= 256; ++salt_size) {
    for (const Algorithm algorithm : {Algorithm::kSha256, Algorithm::kSha512}) {
      expect_blocks(algorithm, 512, 1 + salt_size % 5, salt_size, 1);
    }
  }
}

TEST_P(Sha2, ManyBlocksOfAnySize) {
  for (size_t block_size = 512; block_size <= 524288; block_size *= 2) {
    expect_blocks(Algorithm::kSha256, block_size, 3, 32, 0);
    expect_blocks(Algorithm::kSha512, block_size, 3, 0, 0);
  }
}

// What Linux says about the CPU decides which names level() must give.
TEST_P(Sha2, LanesOfMessagesOfAnyLength) {
  constexpr size_t kLengths[] = {0, 1, 111, 112, 127, 128, 129, 240, 5000, 128 * 40, 70000, 3, 128, 9999};
  const auto bytes = pattern(70000);
  Sha512Lanes lanes;
  std::vector<std::string> digests(std::size(kLengths));
  size_t next = 0;
  while (next < std::size(kLengths) || lanes.used() > 0) {
    for (; next < std::size(kLengths) && !lanes.is_full(); ++next) {
      lanes.add(Bytes(bytes).subspan(next, std::min(kLengths[next], bytes.size() - next)), next);
    }
    lanes.step([&](size_t tag, const Sha512Digest& digest) { digests[tag] = hex(digest); });
  }
  for (size_t i = 0; i < std::size(kLengths); ++i) {
    const Bytes message = Bytes(bytes).subspan(i, std::min(kLengths[i], bytes.size() - i));
    EXPECT_EQ(digests[i], openssl(Algorithm::kSha512, message)) << kLengths[i];
  }
}

#if defined(__aarch64__)

TEST(Level, IsTheBestThatTheCpuHas) {
  const unsigned long capabilities = getauxval(AT_HWCAP);
  const bool sha2 = (capabilities & HWCAP_SHA2) != 0, sha512 = (capabilities & HWCAP_SHA512) != 0;
  use_instruction_set("");
  EXPECT_STREQ(level().sha512_many, sha512 ? "sha512" : "portable");
  EXPECT_STREQ(level().sha256_many, sha2 ? "sha2" : "portable");
  EXPECT_STREQ(level().sha256_stream, sha2 ? "sha2" : "portable");
  EXPECT_EQ(kernels().sha256_pair != nullptr, sha2);
  use_instruction_set("sha2");
  EXPECT_STREQ(level().sha512_many, "portable");
  use_instruction_set("sha512");
  EXPECT_STREQ(level().sha256_many, "portable");
  use_instruction_set("");
}

#else

TEST(Level, IsTheBestThatTheCpuHas) {
  std::ifstream file("/proc/cpuinfo");
  std::stringstream text;
  text << file.rdbuf();
  const auto has = [&](const char* flag) {
    return (text.str() + " ").find(std::string(" ") + flag) != std::string::npos;
  };
  const bool avx512 = has("avx512f") && has("avx512bw"), avx2 = has("avx2"), sha = has("sha_ni");
  use_instruction_set("");
  EXPECT_STREQ(level().sha512_many, avx512 ? "avx512" : avx2 ? "avx2" : "portable");
  EXPECT_STREQ(level().sha256_many, avx512 ? "avx512" : sha ? "sha-ni" : "portable");
  EXPECT_STREQ(level().sha256_stream, sha ? "sha-ni" : "portable");
  EXPECT_EQ(kernels().sha256_pair != nullptr, sha);
}

TEST(Level, OneInstructionSetOfX86Alone) {
  use_instruction_set("avx2");
  EXPECT_STREQ(level().sha256_many, "portable");
  EXPECT_STRNE(level().sha512_many, "avx512");
  use_instruction_set("sha-ni");
  EXPECT_STREQ(level().sha512_many, "portable");
  use_instruction_set("");
}

#endif

TEST(Level, PlainCodeByAnyOtherName) {
  for (const char* none : {"portable", "AVX2", "nonsense"}) {
    use_instruction_set(none);
    EXPECT_STREQ(level().sha512_many, "portable");
    EXPECT_STREQ(level().sha256_many, "portable");
    EXPECT_STREQ(level().sha256_stream, "portable");
  }
  use_instruction_set("");
}

}  // namespace
}  // namespace seekable::hash
