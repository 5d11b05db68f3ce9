#include <gtest/gtest.h>

#include <string>

#include "base/text.h"
#include "tar/header.h"
#include "test/tar_builder.h"

namespace seekable::tar {
namespace {

using test::TarBuilder;

std::optional<int64_t> number(std::string field) { return parse_number(as_bytes(field)); }

template <size_t N>
std::string bytes(const char (&literal)[N]) {
  return std::string(literal, N - 1);
}

TEST(Printable, EscapesWhatIsNotPrintableAscii) {
  EXPECT_EQ(printable(bytes("a b~\\\n\x7f\xc3\xa9\0")), "a b~\\x5c\\x0a\\x7f\\xc3\\xa9\\x00");
  EXPECT_EQ(printable(""), "");
}

TEST(TarNumber, OctalInEveryPadding) {
  EXPECT_EQ(number(bytes("0000644\0")), 0644);
  EXPECT_EQ(number(bytes("   644 \0")), 0644);
  EXPECT_EQ(number(bytes("644 ")), 0644);
  EXPECT_EQ(number(bytes("\0\0"
                         "12")),
            012);
  EXPECT_EQ(number("777777777777"), 0777777777777);  // no terminator
  EXPECT_EQ(number(bytes("7\0junk")), 7);
  EXPECT_EQ(number("        "), 0);
  EXPECT_EQ(number(bytes("\0\0\0\0")), 0);
}

TEST(TarNumber, RefusesWhatIsNoOctal) {
  for (const char* text : {"8", "12a", "-1", "+1", "0x1", "1.5", "7-"})
    EXPECT_EQ(number(text), std::nullopt) << text;
}

TEST(TarNumber, Base256) {
  EXPECT_EQ(number(bytes("\x80\0\0\0\xff\xff\xff\xfe")), 4294967294);
  EXPECT_EQ(number(bytes("\xff\xff\xff\xff\xff\xff\xff\xfe")), -2);
  EXPECT_EQ(number(bytes("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")), INT64_MAX);
  EXPECT_EQ(number(bytes("\xff\xff\xff\xff\x80\0\0\0\0\0\0\0")), INT64_MIN);
  EXPECT_EQ(number(bytes("\xbf\xff")), 16383);   // largest of two bytes: 15 bits, the first of them the sign
  EXPECT_EQ(number(bytes("\xc0\x00")), -16384);  // smallest
}

TEST(TarNumber, Base256BeyondInt64) {
  EXPECT_EQ(number(bytes("\x80\0\0\0\x80\0\0\0\0\0\0\0")), std::nullopt);
  EXPECT_EQ(number(bytes("\x80\0\0\1\0\0\0\0\0\0\0\0")), std::nullopt);
  EXPECT_EQ(number(bytes("\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff")), std::nullopt);
  EXPECT_EQ(number(bytes("\xff\xff\xff\xfe\0\0\0\0\0\0\0\0")), std::nullopt);
}

std::string block_of(test::Member member) { return TarBuilder().add(member).bytes().substr(0, kBlockSize); }

TEST(TarHeader, UnsignedAndSignedChecksums) {
  std::string block = block_of({.name = "caf\xe9"});
  EXPECT_TRUE(has_valid_checksum(as_bytes(block)));
  unsigned sum = 0;
  std::sscanf(block.c_str() + 148, "%o", &sum);
  TarBuilder::octal(block, 148, 7, sum - 256);  // the one byte over 127, taken as negative
  EXPECT_TRUE(has_valid_checksum(as_bytes(block)));
  TarBuilder::octal(block, 148, 7, sum - 255);
  EXPECT_FALSE(has_valid_checksum(as_bytes(block)));
}

TEST(TarHeader, ZeroBlock) {
  std::string block(kBlockSize, '\0');
  EXPECT_TRUE(is_zero_block(as_bytes(block)));
  EXPECT_FALSE(has_valid_checksum(as_bytes(block)));
  block.back() = 1;
  EXPECT_FALSE(is_zero_block(as_bytes(block)));
}

std::string name_with(std::function<void(std::string&)> edit) {
  const std::string block = block_of({.name = "name", .edit = std::move(edit)});
  return header_name(as_bytes(block));
}

TEST(TarHeader, PrefixDependsOnTheDialect) {
  const auto prefixed = [](std::string& block) { TarBuilder::put(block, 345, "some/dir"); };
  EXPECT_EQ(name_with(prefixed), "some/dir/name");
  EXPECT_EQ(name_with([&](std::string& block) { prefixed(block), TarBuilder::no_magic(block); }), "name");
  // Written by Go before 1.8:
  EXPECT_EQ(name_with([&](std::string& block) { prefixed(block), TarBuilder::gnu_magic(block); }),
            "some/dir/name");
  EXPECT_EQ(name_with([](std::string& block) {
              TarBuilder::gnu_magic(block);
              TarBuilder::put(block, 345,
                              bytes("14524770400\0"
                                    "14524770400\0"));  // GNU's atime and ctime
            }),
            "name");
  EXPECT_EQ(name_with([](std::string& block) { TarBuilder::put(block, 345, std::string(155, 'p')); }),
            std::string(155, 'p') + "/name");
  EXPECT_EQ(name_with([](std::string& block) {  // star's prefix is shorter, its times follow
              TarBuilder::put(block, 345, std::string(131, 'p') + "14524770400");
              TarBuilder::put(block, 508, bytes("tar\0"));
            }),
            std::string(131, 'p') + "/name");
}

TEST(TarHeader, BadNumberNamesItsField) {
  const std::string block =
      block_of({.name = "a", .edit = [](std::string& b) { TarBuilder::put(b, 108, "12\n45678"); }});
  const Result<Header> header = parse_header(as_bytes(block));
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(header.error().why.find("uid"), std::string::npos);
  EXPECT_NE(header.error().why.find("12\\x0a45678"), std::string::npos);
}

TEST(TarHeader, DeviceNumbersOnlyOfDevices) {
  const auto junk = [](std::string& block) { TarBuilder::put(block, 329, "no octal"); };
  EXPECT_TRUE(parse_header(as_bytes(block_of({.name = "f", .edit = junk}))).ok());
  EXPECT_FALSE(parse_header(as_bytes(block_of({.name = "c", .typeflag = '3', .edit = junk}))).ok());
}

}  // namespace
}  // namespace seekable::tar
