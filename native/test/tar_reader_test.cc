#include <gtest/gtest.h>

#include "tar/reader.h"
#include "test/tar_builder.h"
#include "test/tar_reading.h"

namespace seekable::tar {
namespace {

using test::contents;
using test::PaxRecords;
using test::read_tar;
using test::TarBuilder;
using test::TarReading;

// The only entry of a tar that must be readable.
Entry only_entry(const std::string& tar) {
  const TarReading reading = read_tar(tar);
  EXPECT_EQ(reading.message(), "");
  EXPECT_EQ(reading.entries.size(), 1u);
  return reading.entries.empty() ? Entry() : reading.entries[0];
}

Entry with_pax(const PaxRecords& records) {
  return only_entry(TarBuilder().pax(records).file("plain", "abc").bytes());
}

void expect_error(const std::string& tar, ErrorCode code, const std::string& what, const std::string& why) {
  const TarReading reading = read_tar(tar);
  ASSERT_TRUE(reading.failed) << why;
  EXPECT_EQ(reading.error.code, code) << reading.message();
  EXPECT_EQ(reading.error.what, what) << reading.message();
  EXPECT_NE(reading.error.why.find(why), std::string::npos) << reading.message();
}

TEST(TarReader, OrdinaryEntries) {
  const std::string tar =
      TarBuilder()
          .directory("d/")
          .add({.name = "d/f", .data = "hello", .mode = 0104755, .uid = 1, .gid = 2, .mtime = 3})
          .symlink("s", "d/f")
          .hard_link("h", "d/f")
          .device("c", '3', 1, 3)
          .device("b", '4', 8, 0)
          .add({.name = "p", .typeflag = '6'})
          .add({.name = "contiguous", .typeflag = '7', .data = "x"})
          .file("empty", "")
          .end()
          .bytes();
  const TarReading reading = read_tar(tar);
  EXPECT_EQ(reading.message(), "");
  EXPECT_TRUE(reading.warnings.empty());
  ASSERT_EQ(reading.names(), "d/|d/f|s|h|c|b|p|contiguous|empty|");
  const auto& entries = reading.entries;
  const EntryType types[] = {EntryType::kDirectory, EntryType::kFile,       EntryType::kSymlink,
                             EntryType::kHardLink,  EntryType::kCharDevice, EntryType::kBlockDevice,
                             EntryType::kFifo,      EntryType::kFile,       EntryType::kFile};
  for (size_t i = 0; i < entries.size(); ++i) EXPECT_EQ(entries[i].type, types[i]) << entries[i].name;
  EXPECT_EQ(entries[1].permissions, 04755);
  EXPECT_EQ(entries[1].uid, 1u);
  EXPECT_EQ(entries[1].gid, 2u);
  EXPECT_EQ(entries[1].mtime, 3);
  EXPECT_EQ(contents(tar, entries[1]), "hello");
  EXPECT_EQ(entries[1].data[0].source_offset, 1024u);
  EXPECT_EQ(entries[2].target, "d/f");
  EXPECT_EQ(entries[3].target, "d/f");
  EXPECT_EQ(entries[4].device_minor, 3u);
  EXPECT_EQ(entries[5].device_major, 8u);
  EXPECT_EQ(contents(tar, entries[7]), "x");
  EXPECT_TRUE(entries[8].data.empty());
}

TEST(TarReader, DirectoriesOfOldHeaders) {
  const auto type_of = [](const char* name, char typeflag) {
    return only_entry(TarBuilder().add({.name = name, .typeflag = typeflag}).bytes()).type;
  };
  EXPECT_EQ(type_of("a/", '\0'), EntryType::kDirectory);
  EXPECT_EQ(type_of("a", '\0'), EntryType::kFile);
  EXPECT_EQ(type_of("a/", '0'), EntryType::kFile);
  EXPECT_EQ(
      only_entry(TarBuilder().gnu_long_name("long/").add({.name = "long", .typeflag = '\0'}).bytes()).type,
      EntryType::kDirectory);
}

TEST(TarReader, V7HeadersHaveNoDeviceNumbers) {
  const auto junk = [](std::string& block) {
    TarBuilder::no_magic(block), TarBuilder::put(block, 329, "no octal");
  };
  EXPECT_EQ(only_entry(TarBuilder().add({.name = "c", .typeflag = '3', .edit = junk}).bytes()).device_major,
            0u);
}

TEST(TarReader, PaxOverrulesTheHeader) {
  const Entry entry = with_pax({{"path", "long/name"},
                                {"uid", "4294967294"},
                                {"gid", "70000"},
                                {"mtime", "-1.5"},
                                {"size", "2"},
                                {"SCHILY.xattr.user.x", "v"},
                                {"uname", "joe"}});
  EXPECT_EQ(entry.name, "long/name");
  EXPECT_EQ(entry.uid, 4294967294u);
  EXPECT_EQ(entry.gid, 70000u);
  EXPECT_EQ(entry.mtime, -2);
  EXPECT_EQ(entry.mtime_nsec, 500'000'000u);
  EXPECT_EQ(entry.size, 2u);
  EXPECT_EQ(entry.xattrs.at("user.x"), "v");
  EXPECT_EQ(only_entry(TarBuilder().pax({{"linkpath", "far"}}).symlink("s", "near").bytes()).target, "far");
}

TEST(TarReader, EmptyPaxValuesGiveWayToTheHeader) {
  const Entry entry = with_pax({{"path", ""}, {"uid", ""}, {"mtime", ""}, {"size", ""}});
  EXPECT_EQ(entry.name, "plain");
  EXPECT_EQ(entry.mtime, 1'700'000'000);
  EXPECT_EQ(entry.size, 3u);
}

TEST(TarReader, OfTwoPaxHeadersTheLastCounts) {
  const Entry entry = only_entry(
      TarBuilder().pax({{"path", "first"}, {"uid", "7"}}).pax({{"gid", "9"}}).file("plain", "").bytes());
  EXPECT_EQ(entry.name, "plain");
  EXPECT_EQ(entry.uid, 0u);
  EXPECT_EQ(entry.gid, 9u);
}

TEST(TarReader, PaxHeadersCountForOneEntry) {
  const TarReading reading =
      read_tar(TarBuilder().pax({{"path", "a"}}).file("x", "").file("b", "").end().bytes());
  EXPECT_EQ(reading.names(), "a|b|");
}

TEST(TarReader, BadPaxValuesNameTheEntry) {
  for (const char* value : {"1e3", "abc", ".5", "+5", " 5"}) {
    expect_error(TarBuilder().pax({{"path", "a\nb"}, {"mtime", value}}).file("x", "").bytes(),
                 ErrorCode::kCorrupt, "entry a\\x0ab", "PAX mtime");
  }
  for (const char* key : {"uid", "gid", "size"}) {
    for (const char* value : {"1e3", "-1", "+5", " 5", "1.0", "x"}) {
      expect_error(TarBuilder().pax({{key, value}}).file("f", "").bytes(), ErrorCode::kCorrupt, "entry f",
                   std::string("PAX ") + key);
    }
  }
  EXPECT_EQ(with_pax({{"mtime", "1."}}).mtime, 1);
  expect_error(TarBuilder().pax_text("8 path=x\n").file("f", "").bytes(), ErrorCode::kCorrupt,
               "entry PaxHeaders/x", "is malformed (header at byte 0)");
}

TEST(TarReader, GlobalHeadersAreIgnored) {
  const std::string tar = TarBuilder()
                              .pax({{"comment", "0123"}}, 'g')
                              .file("a", "")
                              .pax({{"mtime", "5"}, {"SCHILY.xattr.user.g", "x"}}, 'g')
                              .file("b", "")
                              .end()
                              .bytes();
  const TarReading reading = read_tar(tar);
  EXPECT_EQ(reading.names(), "a|b|");
  EXPECT_EQ(reading.entries[1].mtime, 1'700'000'000);
  EXPECT_TRUE(reading.entries[1].xattrs.empty());
  ASSERT_EQ(reading.warnings.size(), 1u);
  EXPECT_EQ(reading.warnings[0].rfind("entry PaxHeaders/x: ", 0), 0u);
  EXPECT_TRUE(read_tar(TarBuilder().pax_text("bad", 'g').file("a", "").bytes()).failed);
}

TEST(TarReader, GnuLongNames) {
  const std::string name(5000, 'n');
  const std::string target(3000, 't');
  const Entry entry = only_entry(TarBuilder()
                                     .gnu_long_target(target)
                                     .pax({{"path", "pax"}})
                                     .gnu_long_name(name)
                                     .symlink("short", "s")
                                     .bytes());
  EXPECT_EQ(entry.name, name);
  EXPECT_EQ(entry.target, target);
  EXPECT_EQ(only_entry(TarBuilder().gnu_long_name("").file("short", "").bytes()).name, "short");
  expect_error(TarBuilder().gnu_long_name(std::string((1 << 20) + 1, 'x')).file("f", "").bytes(),
               ErrorCode::kRefused, "entry ././@LongLink", "over the limit of 1048576");
}

TEST(TarReader, PaxHeadersAreLimited) {
  const std::string comment(size_t{17} << 20, 'x');
  expect_error(TarBuilder().pax({{"comment", comment}}).file("f", "").bytes(), ErrorCode::kRefused,
               "entry PaxHeaders/x", "over the limit of 16777216");
  const std::string value(65536, 'v');
  EXPECT_EQ(with_pax({{"SCHILY.xattr.user.big", value}}).xattrs.at("user.big"), value);
}

TEST(TarReader, NumbersInBase256) {
  const auto base256 = [](std::string& block) {
    TarBuilder::put(block, 108, std::string("\x80\0\0\0\xff\xff\xff\xfe", 8));
    TarBuilder::put(block, 136, std::string(11, '\xff') + '\xfe');
  };
  const Entry entry = only_entry(TarBuilder().add({.name = "f", .edit = base256}).bytes());
  EXPECT_EQ(entry.uid, 4294967294u);
  EXPECT_EQ(entry.mtime, -2);
}

TEST(TarReader, OwnersOutOfRange) {
  const auto invalid = [](std::string& block) {
    TarBuilder::put(block, 116, std::string("\x80\0\0\0\xff\xff\xff\xff", 8));
  };
  const auto negative = [](std::string& block) { TarBuilder::put(block, 108, std::string(8, '\xff')); };
  expect_error(TarBuilder().add({.name = "f", .edit = invalid}).bytes(), ErrorCode::kRefused, "entry f",
               "gid 4294967295");
  expect_error(TarBuilder().add({.name = "f", .edit = negative}).bytes(), ErrorCode::kRefused, "entry f",
               "uid -1");
  expect_error(TarBuilder().pax({{"uid", "4294967295"}}).file("f", "").bytes(), ErrorCode::kRefused,
               "entry f", "uid");
  expect_error(TarBuilder().pax({{"uid", "18446744073709551615"}}).file("f", "").bytes(), ErrorCode::kRefused,
               "entry f", "uid");
}

TEST(TarReader, SizesThatCannotBe) {
  const auto size = [](std::string field) {
    return TarBuilder()
        .file("a", "x")
        .add({.name = "f", .edit = [=](std::string& block) { TarBuilder::put(block, 124, field); }})
        .end()
        .bytes();
  };
  expect_error(size(std::string(12, '\xff')), ErrorCode::kCorrupt, "entry f",
               "negative: -1 (header at byte 1024)");
  expect_error(size(std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12)), ErrorCode::kCorrupt,
               "entry f", "but the tar ends at byte 2560");
  expect_error(size(std::string("\x80\0\0\1\0\0\0\0\0\0\0\0", 12)), ErrorCode::kCorrupt, "entry f",
               "size field");
  expect_error(size("77777777777"), ErrorCode::kCorrupt, "entry f", "but the tar ends at byte 2560");
}

TEST(TarReader, SizesOfEntriesWithoutDataAreIgnored) {
  for (const char typeflag : {'1', '2', '3', '4', '5', '6'}) {
    const auto sized = [](std::string& block) { TarBuilder::octal(block, 124, 12, 5); };
    const std::string tar = TarBuilder()
                                .add({.name = "odd", .typeflag = typeflag, .edit = sized})
                                .file("next", "x")
                                .end()
                                .bytes();
    EXPECT_EQ(read_tar(tar).names(), "odd|next|") << typeflag;
    EXPECT_EQ(read_tar(tar).entries[0].size, 0u);
    const std::string desync =
        TarBuilder().add({.name = "odd", .typeflag = typeflag, .data = "hello"}).end().bytes();
    expect_error(desync, ErrorCode::kCorrupt, "the entry after odd", "no tar header");
  }
}

TEST(TarReader, TypesThatAreRefusedOrSkipped) {
  for (const char typeflag : {'D', 'M', 'N', 'A', 'X', 'Q', '8', '\x01'}) {
    const TarReading reading =
        read_tar(TarBuilder().file("a", "").add({.name = "odd", .typeflag = typeflag}).end().bytes());
    ASSERT_TRUE(reading.failed);
    EXPECT_EQ(reading.error.code, ErrorCode::kRefused);
    EXPECT_EQ(reading.error.what, "entry odd");
    EXPECT_NE(reading.error.why.find("(header at byte 512)"), std::string::npos);
  }
  EXPECT_EQ(
      read_tar(
          TarBuilder().add({.name = "LABEL", .typeflag = 'V', .data = "data"}).file("a", "").end().bytes())
          .names(),
      "a|");
}

TEST(TarReader, HostileVolumeLabels) {
  for (const char* size :
       {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\x00", "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"}) {
    const auto sized = [=](std::string& block) { TarBuilder::put(block, 124, std::string(size, 12)); };
    expect_error(TarBuilder().add({.name = "V", .typeflag = 'V', .edit = sized}).end().bytes(),
                 ErrorCode::kCorrupt, "entry V", "");
  }
}

TEST(TarReader, Ends) {
  const std::string entry = TarBuilder().file("a", "1").bytes();
  const std::string zero(512, '\0');
  for (const std::string& tail :
       {std::string(), zero, zero + zero, zero + zero + "garbage", zero + zero + zero + entry}) {
    EXPECT_EQ(read_tar(entry + tail).message(), "");
    EXPECT_EQ(read_tar(entry + tail).names(), "a|");
    EXPECT_EQ(read_tar(tail).message(), "");
  }
  expect_error(entry + zero + entry, ErrorCode::kCorrupt, "the entry after a", "lone zero block");
  expect_error(entry + zero + "short", ErrorCode::kCorrupt, "the entry after a",
               "ends inside a header (header at byte 1536)");
}

TEST(TarReader, Truncation) {
  const std::string tar = TarBuilder().pax({{"path", "long"}}).file("f", std::string(700, 'x')).bytes();
  ASSERT_EQ(tar.size(), 2560u);
  for (size_t length = 1; length < tar.size(); ++length) {
    const TarReading reading = read_tar(tar.substr(0, length));
    const bool complete = length >= 1024 + 512 + 700;  // only padding is missing
    ASSERT_EQ(reading.failed, !complete) << length;
    if (reading.failed) {
      EXPECT_EQ(reading.error.code, ErrorCode::kCorrupt) << length;
    } else {
      ASSERT_EQ(reading.warnings.size(), 1u) << length;
      EXPECT_NE(reading.warnings[0].find("entry long: the tar ends before the padding"), std::string::npos);
    }
  }
}

TEST(TarReader, ErrorsRepeat) {
  const std::string tar = TarBuilder().file("a", "").add({.name = "q", .typeflag = 'Q'}).end().bytes();
  const MemorySource source(as_bytes(tar));
  Reader reader(source);
  EXPECT_TRUE(reader.next().ok());
  for (int i = 0; i < 2; ++i) EXPECT_FALSE(reader.next().ok());
}

TEST(TarReader, EndsRepeat) {
  const MemorySource source({});
  Reader reader(source);
  for (int i = 0; i < 2; ++i) {
    Result<std::optional<Entry>> next = reader.next();
    ASSERT_TRUE(next.ok());
    EXPECT_FALSE(next.value().has_value());
  }
}

TEST(TarReader, WarningsAreBounded) {
  TarBuilder builder;
  for (int i = 0; i < 150; ++i) builder.pax({{"mtime", "5"}}, 'g');
  const TarReading reading = read_tar(builder.end().bytes());
  EXPECT_EQ(reading.message(), "");
  ASSERT_EQ(reading.warnings.size(), 101u);
  EXPECT_EQ(reading.warnings.back(), "and 50 more warnings about the tar");
}

TEST(TarReader, DroppedMetadataIsWarnedOf) {
  const TarReading reading =
      read_tar(TarBuilder()
                   .pax({{"SCHILY.acl.access", "user::rw-"}, {"RHT.security.selinux", "x"}})
                   .file("f", "")
                   .bytes());
  EXPECT_EQ(reading.warnings.size(), 2u);
}

TEST(TarReader, MessagesQuoteOnlyTheStartOfVeryLongNames) {
  const TarReading reading = read_tar(
      TarBuilder().gnu_long_name(std::string(100'000, 'n')).add({.name = "n", .typeflag = 'Q'}).bytes());
  ASSERT_TRUE(reading.failed);
  EXPECT_LT(reading.error.what.size(), 5000u);
  EXPECT_NE(reading.error.what.find("(100000 bytes)"), std::string::npos);
}

// A source that counts calls, and has no data outside of headers.
class CountingSource final : public ByteSource {
 public:
  explicit CountingSource(const std::string& bytes) : source_(as_bytes(bytes)) {}
  uint64_t size() const override { return source_.size(); }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    ++calls;
    bytes += out.size();
    return source_.read_at(offset, out);
  }
  bool read_cached(uint64_t offset, MutableBytes out) const override {
    return !is_on_disk && read_at(offset, out).ok();
  }
  bool is_on_disk = false;
  mutable size_t calls = 0;
  mutable size_t bytes = 0;

 private:
  MemorySource source_;
};

TEST(TarReader, ReadsHeadersOnlyAndFewTimes) {
  TarBuilder builder;
  for (int i = 0; i < 10; ++i) builder.pax({{"mtime", "1.5"}}).file("f", std::string(100'000, 'x'));
  const std::string tar = builder.end().bytes();
  const CountingSource source(tar);
  Reader reader(source);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(reader.next().ok());
  EXPECT_EQ(source.calls, 10u);
  EXPECT_LE(source.bytes, 10u * 4096);
}

TEST(TarReader, ReadsSmallFilesManyAtATimeAndLargeOnesNotAtAll) {
  TarBuilder builder;
  for (int i = 0; i < 1000; ++i) builder.file("s" + std::to_string(i), std::string(i % 900, 's'));
  for (int i = 0; i < 10; ++i) builder.file("l" + std::to_string(i), std::string(100'000, 'l'));
  for (int i = 0; i < 1000; ++i) builder.file("t" + std::to_string(i), "t");
  const std::string tar = builder.end().bytes();
  const CountingSource source(tar);
  Reader reader(source);
  for (int i = 0; i < 2010; ++i) {
    Result<std::optional<Entry>> entry = reader.next();
    ASSERT_TRUE(entry.ok() && entry.value());
    const int number = i < 1000 ? i : i < 1010 ? i - 1000 : i - 1010;
    EXPECT_EQ(entry.value()->name.substr(1), std::to_string(number));
  }
  EXPECT_FALSE(reader.next().value());
  EXPECT_LE(source.calls, 60u);
  EXPECT_LE(source.bytes, tar.size() - 10 * 90'000);
}

TEST(TarReader, ReadsLargePiecesWhereTheTarIsOnDisk) {
  TarBuilder builder;
  for (int i = 0; i < 100; ++i) {
    builder.pax({{"mtime", "1.5"}}).file("f" + std::to_string(i), std::string(30'000, 'x'));
  }
  const std::string tar = builder.end().bytes();
  CountingSource source(tar);
  source.is_on_disk = true;
  Reader reader(source);
  for (int i = 0; i < 100; ++i) {
    Result<std::optional<Entry>> entry = reader.next();
    ASSERT_TRUE(entry.ok() && entry.value());
    EXPECT_EQ(entry.value()->name, "f" + std::to_string(i));
    EXPECT_EQ(tar.substr(entry.value()->data.at(0).source_offset, 3), "xxx");
  }
  EXPECT_FALSE(reader.next().value());
  EXPECT_EQ(source.calls, 3u);  // of 1 MiB, for as many bytes
}

TEST(TarReader, ErrorsOfTheSourcePass) {
  class Failing final : public ByteSource {
   public:
    uint64_t size() const override { return 4096; }
    Status read_at(uint64_t, MutableBytes) const override { return system_error("disk", EIO); }
  };
  const Failing source;
  Reader reader(source);
  Result<std::optional<Entry>> next = reader.next();
  ASSERT_FALSE(next.ok());
  EXPECT_EQ(next.error().code, ErrorCode::kIo);
  EXPECT_EQ(next.error().what, "disk");
}

}  // namespace
}  // namespace seekable::tar
