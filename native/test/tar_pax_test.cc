#include <gtest/gtest.h>

#include "tar/pax.h"
#include "test/tar_builder.h"

namespace seekable::tar {
namespace {

using test::TarBuilder;

PaxHeader parsed(const std::string& text) {
  Result<PaxHeader> pax = parse_pax(text);
  EXPECT_TRUE(pax.ok()) << pax.error().why;
  return pax.ok() ? pax.value() : PaxHeader();
}

std::string record(const std::string& key, const std::string& value) {
  return TarBuilder::pax_record(key, value);
}

TEST(Pax, LastOfEqualKeysWinsAndEmptyIsNone) {
  const PaxHeader pax = parsed(record("path", "one") + record("path", "two") + record("linkpath", ""));
  ASSERT_NE(pax.find("path"), nullptr);
  EXPECT_EQ(*pax.find("path"), "two");
  EXPECT_EQ(pax.find("linkpath"), nullptr);
  EXPECT_EQ(parsed(record("path", "one") + record("path", "")).find("path"), nullptr);
}

TEST(Pax, ValuesMayHoldAnythingAndUnusedKeysAreDropped) {
  const std::string value("a=b\nc\0d", 7);
  const PaxHeader pax = parsed(record("SCHILY.xattr.user.x", value) + record("atime", "1"));
  EXPECT_EQ(*pax.find("SCHILY.xattr.user.x"), value);
  EXPECT_EQ(pax.records.size(), 1u);
}

TEST(Pax, OnlyComments) {
  EXPECT_TRUE(parsed("").only_comments);
  EXPECT_TRUE(parsed(record("comment", "hello")).only_comments);
  EXPECT_FALSE(parsed(record("comment", "hello") + record("foo", "x")).only_comments);
}

TEST(Pax, MalformedRecords) {
  const std::string good = record("path", "x");
  ASSERT_EQ(good, "9 path=x\n");
  const std::string bad[] = {"999 path=x\n",
                             "8 path=x\n",
                             "9 path=xy\n",
                             "path=x\n",
                             " 9 path=x\n",
                             "+9 path=x\n",
                             "9 path=xy",
                             "5 ab\n",
                             "5 =x\n",
                             "0 path=x\n",
                             "2 \n",
                             "10",
                             "10 ",
                             "1 a=b\n",
                             "3 \n",
                             "18446744073709551617 a=b\n",
                             std::string(4096, '1'),
                             good + "x",
                             std::string("\0", 1)};
  for (const std::string& text : bad) {
    const Result<PaxHeader> pax = parse_pax(text);
    ASSERT_FALSE(pax.ok()) << text;
    EXPECT_EQ(pax.error().code, ErrorCode::kCorrupt) << text;
  }
  EXPECT_NE(parse_pax(good + "x").error().why.find("byte 9 "), std::string::npos);
}

TEST(Pax, NulInPathsAndKeys) {
  const std::string nul(1, '\0');
  for (const char* key : {"path", "linkpath", "GNU.sparse.name"}) {
    EXPECT_FALSE(parse_pax(record(key, "a" + nul + "b")).ok()) << key;
  }
  EXPECT_FALSE(parse_pax(record("SCHILY.xattr.user." + nul, "v")).ok());
  EXPECT_TRUE(parse_pax(record("comment", nul)).ok());
}

TEST(Pax, SparsePairsBecomeOneMap) {
  const std::string offset = record("GNU.sparse.offset", "10");
  const std::string length = record("GNU.sparse.numbytes", "3");
  EXPECT_EQ(*parsed(offset + length + offset + length).find("GNU.sparse.map"), "10,3,10,3");
  for (const std::string& text : {offset, length + offset, offset + offset + length + length,
                                  record("GNU.sparse.offset", "1,2") + length}) {
    EXPECT_FALSE(parse_pax(text).ok()) << text;
  }
}

TEST(Pax, Decimal) {
  EXPECT_EQ(parse_decimal("0"), 0u);
  EXPECT_EQ(parse_decimal("007"), 7u);
  EXPECT_EQ(parse_decimal("18446744073709551615"), UINT64_MAX);
  for (const char* text : {"", "-1", "+1", " 1", "1 ", "1e3", "0x1", "18446744073709551616", "1.0"}) {
    EXPECT_EQ(parse_decimal(text), std::nullopt) << text;
  }
}

void expect_time(const char* text, int64_t seconds, uint32_t nanoseconds) {
  const std::optional<Timestamp> time = parse_pax_time(text);
  ASSERT_TRUE(time) << text;
  EXPECT_EQ(time->seconds, seconds) << text;
  EXPECT_EQ(time->nanoseconds, nanoseconds) << text;
}

TEST(Pax, Times) {
  expect_time("0", 0, 0);
  expect_time("1.", 1, 0);
  expect_time("1234567890.5", 1234567890, 500'000'000);
  expect_time("1.1234567899999", 1, 123'456'789);
  expect_time("-1.5", -2, 500'000'000);
  expect_time("-0.000000001", -1, 999'999'999);
  expect_time("-0.0000000001", 0, 0);
  expect_time("-7", -7, 0);
  expect_time("9223372036854775807.9", INT64_MAX, 900'000'000);
  expect_time("-9223372036854775807.9", INT64_MIN, 100'000'000);
  for (const char* text : {"", "-", ".5", "-.5", "+5", " 5", "5 ", "1e3", "abc", "1.2.3", "1.5x", "--1",
                           "1.-5", "9223372036854775808", "0x10"}) {
    EXPECT_FALSE(parse_pax_time(text)) << text;
  }
}

TEST(Pax, Xattrs) {
  const PaxHeader pax =
      parsed(record("SCHILY.xattr.user.both", "schily") + record("SCHILY.xattr.user.empty", "") +
             record("LIBARCHIVE.xattr.user.both", "bGliYXJjaGl2ZQ") +
             record("LIBARCHIVE.xattr.user.p%25c%3Dt", "aGVsbG8=") +
             record("LIBARCHIVE.xattr.user.bare", "AP8") + record("LIBARCHIVE.creationtime", "1"));
  const std::map<std::string, std::string> expected = {{"user.both", "schily"},
                                                       {"user.empty", ""},
                                                       {"user.p%c=t", "hello"},
                                                       {"user.bare", std::string("\0\xff", 2)}};
  const auto xattrs = pax_xattrs(pax);
  ASSERT_TRUE(xattrs.ok());
  EXPECT_EQ(xattrs.value(), expected);
}

TEST(Pax, BadXattrs) {
  const std::pair<const char*, const char*> misencoded[] = {
      {"user.a", "a"},   {"user.a", "!!!!"},  {"user.a", "aGk==="}, {"user.%4", "aGk"},
      {"user.%", "aGk"}, {"user.%zz", "aGk"}, {"user.%00", "aGk"},  {"user.a", "a=Gk"}};
  for (const auto& [name, value] : misencoded) {
    const auto xattrs = pax_xattrs(parsed(record(std::string("LIBARCHIVE.xattr.") + name, value)));
    ASSERT_FALSE(xattrs.ok()) << name << " " << value;
    EXPECT_EQ(xattrs.error().code, ErrorCode::kCorrupt);
  }
  const auto nameless = pax_xattrs(parsed(record("SCHILY.xattr.", "v")));
  ASSERT_FALSE(nameless.ok());
  EXPECT_EQ(nameless.error().code, ErrorCode::kRefused);
}

}  // namespace
}  // namespace seekable::tar
