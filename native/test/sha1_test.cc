#include "hash/sha1.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <string>

namespace seekable::hash {
namespace {

std::string text(const std::array<uint8_t, 16>& uuid) {
  std::string out;
  for (size_t i = 0; i < uuid.size(); ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", uuid[i]);
    out += (i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "") + std::string(digits);
  }
  return out;
}

// Python: uuid.uuid5(uuid.NAMESPACE_URL, name)
TEST(Uuid5Url, KnownNames) {
  EXPECT_EQ(text(uuid5_url("http://www.ietf.org/rfc/rfc4122.txt")), "d0690b3c-b29d-52e7-81b0-d573b503f2d4");
  EXPECT_EQ(text(uuid5_url("")), "1b4db7eb-4057-5ddf-91e0-36dec72071f5");
}

// Every length of the last chunk, so every way to pad it.
TEST(Uuid5Url, AgreesWithOpenSsl) {
  const std::string space =
      "\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4" + std::string(1, '\0') + "\xc0\x4f\xd4\x30\xc8";
  std::string name;
  for (int length = 0; length < 200; ++length, name += static_cast<char>(length * 37)) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    const std::string message = space + name;
    ASSERT_EQ(EVP_Digest(message.data(), message.size(), digest, nullptr, EVP_sha1(), nullptr), 1);
    std::array<uint8_t, 16> expected;
    std::copy_n(digest, 16, expected.begin());
    expected[6] = static_cast<uint8_t>((expected[6] & 0x0f) | 0x50);
    expected[8] = static_cast<uint8_t>((expected[8] & 0x3f) | 0x80);
    EXPECT_EQ(text(uuid5_url(name)), text(expected)) << length;
  }
}

}  // namespace
}  // namespace seekable::hash
