#include <gtest/gtest.h>

#include "tar/sparse.h"
#include "test/tar_builder.h"
#include "test/tar_reading.h"

namespace seekable::tar {
namespace {

using test::PaxRecords;
using test::read_tar;
using test::TarBuilder;
using test::TarReading;

struct Piece {
  long long offset;
  std::string data;
};

std::string padded(std::string text) { return text.append((512 - text.size() % 512) % 512, '\0'); }

std::string laid_out(const std::vector<Piece>& pieces, size_t size) {
  std::string bytes(size, '\0');
  for (const Piece& piece : pieces) TarBuilder::put(bytes, static_cast<size_t>(piece.offset), piece.data);
  return bytes;
}

std::string joined(const std::vector<Piece>& pieces) {
  std::string text;
  for (const Piece& piece : pieces) text += piece.data;
  return text;
}

// One block's worth of old GNU regions.
void put_regions(std::string& block, size_t at, const std::vector<Piece>& pieces, size_t first,
                 size_t count) {
  for (size_t i = first; i < std::min(first + count, pieces.size()); ++i, at += 24) {
    TarBuilder::octal(block, at, 12, pieces[i].offset);
    TarBuilder::octal(block, at + 12, 12, static_cast<long long>(pieces[i].data.size()));
  }
}

// As GNU tar writes 'S': each piece in blocks of its own, the size field without those gaps.
std::string old_gnu(const std::vector<Piece>& pieces, long long size,
                    const std::function<void(std::string&)>& edit = {}) {
  TarBuilder builder;
  builder.add({.name = "sparse", .typeflag = 'S', .edit = [&](std::string& block) {
                 TarBuilder::gnu_magic(block);
                 TarBuilder::octal(block, 124, 12, static_cast<long long>(joined(pieces).size()));
                 TarBuilder::octal(block, 483, 12, size);
                 put_regions(block, 386, pieces, 0, 4);
                 block[482] = pieces.size() > 4;
                 if (edit) edit(block);
               }});
  for (size_t first = 4; first < pieces.size(); first += 21) {
    std::string block(512, '\0');
    put_regions(block, 0, pieces, first, 21);
    block[504] = pieces.size() > first + 21;
    builder.raw(block);
  }
  for (const Piece& piece : pieces) builder.raw(padded(piece.data));
  return builder.file("after", "x").end().bytes();
}

std::string map_lines(const std::vector<Piece>& pieces) {
  std::string text = std::to_string(pieces.size()) + "\n";
  for (const Piece& piece : pieces) {
    text += std::to_string(piece.offset) + "\n" + std::to_string(piece.data.size()) + "\n";
  }
  return text;
}

std::string pax_1_0(const std::string& map, const std::string& data, const std::string& size) {
  return TarBuilder()
      .pax({{"GNU.sparse.major", "1"},
            {"GNU.sparse.minor", "0"},
            {"GNU.sparse.name", "sparse"},
            {"GNU.sparse.realsize", size}})
      .file("GNUSparseFile.1/sparse", padded(map) + data)
      .file("after", "x")
      .end()
      .bytes();
}

std::string pax_0(const PaxRecords& records, const std::string& data) {
  return TarBuilder().pax(records).file("sparse", data).file("after", "x").end().bytes();
}

std::string pax_0_1(const std::string& map, const std::string& size, const std::string& data) {
  return pax_0({{"GNU.sparse.size", size}, {"GNU.sparse.map", map}}, data);
}

void expect_file(const std::string& tar, const std::string& bytes) {
  const TarReading reading = read_tar(tar);
  EXPECT_EQ(reading.message(), "");
  ASSERT_EQ(reading.names(), "sparse|after|");
  EXPECT_EQ(reading.entries[0].size, bytes.size());
  EXPECT_TRUE(test::contents(tar, reading.entries[0]) == bytes);
  EXPECT_EQ(test::contents(tar, reading.entries[1]), "x");
}

void expect_error(const std::string& tar, ErrorCode code, const std::string& reason) {
  const TarReading reading = read_tar(tar);
  ASSERT_TRUE(reading.failed) << reason;
  EXPECT_EQ(reading.error.code, code) << reading.message();
  EXPECT_EQ(reading.error.what, "entry sparse");
  EXPECT_NE(reading.error.why.find(reason), std::string::npos) << reading.message();
}

const std::vector<Piece> kPieces = {
    {512, std::string(1024, 'a')}, {4096, std::string(512, 'b')}, {9000, "tail"}};

std::vector<Piece> many(size_t count) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < count; ++i) {
    pieces.push_back({static_cast<long long>(i) * 2048, std::string(512, static_cast<char>('a' + i % 26))});
  }
  return pieces;
}

TEST(Sparse, OldGnu) { expect_file(old_gnu(kPieces, 20000), laid_out(kPieces, 20000)); }

TEST(Sparse, OldGnuExtensionBlocks) {
  for (const size_t count : {4, 5, 25, 26, 60}) {
    expect_file(old_gnu(many(count), 1 << 20), laid_out(many(count), 1 << 20));
  }
}

TEST(Sparse, OldGnuRegionsStartInBlocksOfTheirOwn) {
  const std::vector<Piece> odd = {{0, "one"}, {1000, std::string(700, '2')}, {5000, "three"}};
  expect_file(old_gnu(odd, 6000), laid_out(odd, 6000));
}

TEST(Sparse, OldGnuHolesOnly) {
  const std::vector<Piece> none = {{30000, ""}};
  expect_file(old_gnu(none, 30000), std::string(30000, '\0'));
  EXPECT_TRUE(read_tar(old_gnu(none, 30000)).entries[0].data.empty());
}

TEST(Sparse, OldGnuBigNumbers) {
  const auto base256 = [](std::string& block) {
    TarBuilder::put(block, 386, std::string("\x80\0\0\0\0\0\1\0\0\0\0\0", 12));  // region at 2^40
    TarBuilder::put(block, 483, std::string("\x80\0\0\0\0\0\2\0\0\0\0\0", 12));  // of a file of 2^41
  };
  const TarReading reading = read_tar(old_gnu({{0, "data"}}, 0, base256));
  EXPECT_EQ(reading.message(), "");
  ASSERT_EQ(reading.names(), "sparse|after|");
  EXPECT_EQ(reading.entries[0].size, uint64_t{1} << 41);
  ASSERT_EQ(reading.entries[0].data.size(), 1u);
  EXPECT_EQ(reading.entries[0].data[0].file_offset, uint64_t{1} << 40);
}

TEST(Sparse, OldGnuFaults) {
  const std::vector<Piece> backwards = {{4096, "abc"}, {512, "def"}};
  const std::vector<Piece> overlapping = {{0, std::string(512, 'a')}, {511, "b"}};
  expect_error(old_gnu(backwards, 20000), ErrorCode::kRefused, "starts before");
  expect_error(old_gnu(overlapping, 20000), ErrorCode::kRefused, "starts before");
  expect_error(old_gnu(kPieces, 9003), ErrorCode::kRefused, "passes the file's size, 9003");
  expect_error(old_gnu({{30000, ""}}, 20000), ErrorCode::kRefused, "passes the file's size");
  expect_error(old_gnu(kPieces, 20000, [](std::string& block) { TarBuilder::octal(block, 124, 12, 1539); }),
               ErrorCode::kCorrupt, "names 1540 bytes of data, but 1539 are stored");
  expect_error(old_gnu(kPieces, 20000, [](std::string& block) { TarBuilder::put(block, 386, "x"); }),
               ErrorCode::kCorrupt, "invalid number");
  expect_error(old_gnu(kPieces, 20000, [](std::string& block) { block[483] = '\xff'; }), ErrorCode::kCorrupt,
               "invalid number");
  expect_error(old_gnu(kPieces, 20000,
                       [](std::string& block) {
                         TarBuilder::put(block, 257, "ustar");
                         block[262] = 0;
                       }),
               ErrorCode::kRefused, "isn't GNU's");
  const std::string whole = old_gnu(many(30), 1 << 20);
  expect_error(whole.substr(0, 1024 + 100), ErrorCode::kCorrupt, "ends inside its sparse map");
  expect_error(whole.substr(0, 4000), ErrorCode::kCorrupt, "but the tar ends at byte 4000");
}

TEST(Sparse, Pax00) {
  PaxRecords records = {{"GNU.sparse.size", "20000"}, {"GNU.sparse.numblocks", "3"}};
  for (const Piece& piece : kPieces) {
    records.push_back({"GNU.sparse.offset", std::to_string(piece.offset)});
    records.push_back({"GNU.sparse.numbytes", std::to_string(piece.data.size())});
  }
  expect_file(pax_0(records, joined(kPieces)), laid_out(kPieces, 20000));
  records[1].second = "2";
  expect_error(pax_0(records, joined(kPieces)), ErrorCode::kCorrupt, "not the announced number");
}

TEST(Sparse, Pax01) {
  expect_file(pax_0_1("512,1024,4096,512,9000,4", "20000", joined(kPieces)), laid_out(kPieces, 20000));
  // Regions aren't padded in the PAX forms.
  expect_file(pax_0_1("0,3,100,4", "200", "one-two"), laid_out({{0, "one"}, {100, "-two"}}, 200));
  expect_file(pax_0({{"GNU.sparse.size", "99"}, {"GNU.sparse.numblocks", "0"}}, ""), std::string(99, '\0'));
}

TEST(Sparse, Pax01Faults) {
  for (const char* map : {"1", "1,", "1,2,3", "a,b", "-1,2", "1,2,,", ",", "1 ,2"}) {
    expect_error(pax_0_1(map, "99", ""), ErrorCode::kCorrupt, "isn't pairs of numbers");
  }
  expect_error(pax_0_1("0,18446744073709551615", "99", ""), ErrorCode::kRefused, "passes the file's size");
  expect_error(pax_0_1("0,4", "99", "abc"), ErrorCode::kCorrupt, "names 4 bytes of data, but 3 are stored");
  expect_error(pax_0_1("0,2", "99", "abc"), ErrorCode::kCorrupt, "names 2 bytes of data, but 3 are stored");
  expect_error(pax_0_1("0,3", "9223372036854775808", "abc"), ErrorCode::kCorrupt, "no valid size");
  expect_error(pax_0({{"GNU.sparse.map", "0,3"}}, "abc"), ErrorCode::kCorrupt, "no valid size");
}

TEST(Sparse, Pax10) {
  expect_file(pax_1_0(map_lines(kPieces), joined(kPieces), "20000"), laid_out(kPieces, 20000));
  expect_file(pax_1_0("0\n", "", "77"), std::string(77, '\0'));
  const std::vector<Piece> pieces = many(300);  // a map of several blocks
  expect_file(pax_1_0(map_lines(pieces), joined(pieces), "700000"), laid_out(pieces, 700000));
}

TEST(Sparse, Pax10Faults) {
  expect_error(pax_1_0("1\n0\n", "", "99"), ErrorCode::kCorrupt, "no number");  // the padding isn't digits
  expect_error(pax_1_0("x\n", "", "99"), ErrorCode::kCorrupt, "no number");
  expect_error(pax_1_0("\n", "", "99"), ErrorCode::kCorrupt, "no number");
  expect_error(pax_1_0(std::string(512, '1'), "", "99"), ErrorCode::kCorrupt, "no number");
  expect_error(pax_1_0("", "3\n", "99"), ErrorCode::kCorrupt, "doesn't end within the entry");
  expect_error(pax_1_0("99999\n" + std::string(506, '0'), "", "99"), ErrorCode::kCorrupt, "no number");
  expect_error(pax_1_0("1\n0\n3\n", "abcd", "99"), ErrorCode::kCorrupt,
               "names 3 bytes of data, but 4 are stored");
  expect_error(pax_1_0("2\n5\n1\n4\n1\n", "ab", "99"), ErrorCode::kRefused, "starts before");
}

TEST(Sparse, AdjacentRegionsAreOneRange) {
  const TarReading reading = read_tar(pax_0_1("0,3,3,4", "20", "one-two"));
  ASSERT_EQ(reading.names(), "sparse|after|");
  EXPECT_EQ(reading.entries[0].data.size(), 1u);
}

TEST(Sparse, RegionsAreLimited) {
  std::string map = std::to_string(kMaxRegions + 1) + "\n";
  for (size_t i = 0; i <= kMaxRegions; ++i) map += "0\n0\n";
  expect_error(pax_1_0(map, "", "99"), ErrorCode::kRefused, "over 1048576 regions");
}

TEST(Sparse, UnknownOrContradictingForms) {
  expect_error(pax_0({{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}}, ""), ErrorCode::kRefused,
               "unknown version");
  expect_error(pax_0({{"GNU.sparse.major", "1"}}, ""), ErrorCode::kRefused, "unknown version");
  expect_error(TarBuilder().pax({{"GNU.sparse.map", "0,0"}}).raw(old_gnu(kPieces, 20000)).bytes(),
               ErrorCode::kRefused, "two sparse maps");
  expect_error(TarBuilder().pax({{"GNU.sparse.map", "0,0"}}).directory("sparse").bytes(), ErrorCode::kRefused,
               "is no file");
}

}  // namespace
}  // namespace seekable::tar
