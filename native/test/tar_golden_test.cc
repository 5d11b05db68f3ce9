// The edge-case tars of test/golden/tar, as the reader alone sees them. What a layer makes of the entries
// (parents, whiteouts, link targets) is for its own tests.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

#include "inflate/input.h"
#include "test/tar_reading.h"

namespace seekable::tar {
namespace {

using test::contents;
using test::read_tar;
using test::TarReading;

const std::string kFolder = SEEKABLE_TEST_DATA "/golden/tar/";

std::string unpacked(const std::string& name) {
  std::ifstream stream(kFolder + name + ".tar.gz", std::ios::binary);
  const std::string compressed((std::istreambuf_iterator<char>(stream)), {});
  const MemorySource source(as_bytes(compressed));
  auto inflater = inflate::Inflater::open(source, inflate::Compression::kGzip);
  std::string tar;
  for (;;) {
    const Result<Bytes> piece = inflater.value()->next();
    EXPECT_TRUE(piece.ok()) << name;
    if (!piece.ok() || piece.value().empty()) break;
    tar += as_text(piece.value());
  }
  return tar;
}

struct Rejection {
  const char* entries;  // read before
  ErrorCode code;
  const char* message;  // a part of it
};

const std::map<std::string, Rejection> kRejected = {
    {"bad-checksum", {"a|", ErrorCode::kCorrupt, "the entry after a: this is no tar header"}},
    {"eof-one-zero-then-entry", {"a|", ErrorCode::kCorrupt, "a lone zero block"}},
    {"gnu-multivol-M-and-dumpdir-D", {"", ErrorCode::kRefused, "entry dd/: it is a GNU dump directory"}},
    {"hardlink-with-data", {"a|h|", ErrorCode::kCorrupt, "the entry after h: this is no tar header"}},
    {"ids-range", {"u0|u1|u2|u3|u4|u5|u6|", ErrorCode::kRefused, "entry u7: its uid 4294967295"}},
    {"not-a-tar", {"", ErrorCode::kCorrupt, "the first entry: this is no tar header"}},
    {"pax-bad-record", {"", ErrorCode::kCorrupt, "entry PaxHeaders: the PAX record at byte 0"}},
    {"pax-mtime-bad",
     {"a|", ErrorCode::kCorrupt, "its PAX mtime is no valid time: 'abc' (header at byte 2048)"}},
    {"pax-nul-in-path", {"", ErrorCode::kCorrupt, "entry PaxHeaders/x: the PAX record 'path' holds a NUL"}},
    {"size-negative-base256", {"", ErrorCode::kCorrupt, "its size is negative: -1"}},
    {"symlink-with-size", {"s|", ErrorCode::kCorrupt, "the entry after s: this is no tar header"}},
    {"trunc-in-data", {"a|", ErrorCode::kCorrupt, "entry b: its data goes on to byte"}},
    {"trunc-in-header", {"a|", ErrorCode::kCorrupt, "the tar ends inside a header"}},
    {"type-unknown",
     {"a|", ErrorCode::kRefused, "entry weird: its type 'Q' is unknown (header at byte 1024)"}},
};

TEST(TarGolden, Rejected) {
  for (const auto& [name, expected] : kRejected) {
    const TarReading reading = read_tar(unpacked(name));
    EXPECT_EQ(reading.names(), expected.entries) << name;
    ASSERT_TRUE(reading.failed) << name;
    EXPECT_EQ(reading.error.code, expected.code) << name;
    EXPECT_NE(reading.message().find(expected.message), std::string::npos)
        << name << ": " << reading.message();
  }
}

const std::map<std::string, const char*> kAccepted = {
    {"dup-dir-meta", "a/|a/x|a/|"},
    {"dup-file-last-wins", "a|a|"},
    {"dup-file-then-dir", "a|a/|a/x|"},
    {"dup-symlink-then-dir", "real/|a|a/|a/x|"},
    {"empty-one-zero-block", ""},
    {"empty-two-zero-blocks", ""},
    {"empty-zero-bytes", ""},
    {"eof-many-zero", "a|"},
    {"eof-none", "a|"},
    {"eof-one-block", "a|"},
    {"eof-trailing-garbage", "a|"},
    {"gnu-longname", nullptr},
    {"gnu-volume-header", "a|"},
    {"hardlink-forward", "b|a|"},
    {"hardlink-name-forms", "./d/f|h1|h2|h3|h4|h5|"},
    {"hardlink-self", "a|a|"},
    {"hardlink-to-dir", "d/|b|"},
    {"hardlink-to-missing", "b|c|"},
    {"hardlink-to-symlink", "f|s|h|"},
    {"mode-with-filetype-bits", "f|d/|mism|"},
    {"name-256", nullptr},
    {"octal-space-padded", "f|"},
    {"parent-after-child", "x/f|x/|"},
    {"parent-is-file", "a|a/b|c|"},
    {"parent-is-symlink-absolute", "tgt/|a|a/b|"},
    {"parent-missing", "x/y/z|"},
    {"path-4096", nullptr},
    {"path-dotdot", "d/|d/../x|d/e/../../y|"},
    {"path-empty", "|b|"},
    {"path-forms", "./d/|./d/a|/abs|d//b|d/./c|file-slash/|"},
    {"path-root-slash", "/|f|"},
    {"path-root-variants", "./|f|"},
    {"pax-dup-key", "second|"},
    {"pax-empty-value", "f|"},
    {"pax-global", "f1|f2|"},
    {"pax-linkpath", "target|sl|hl|"},
    {"pax-on-whole-name-nonutf8", "caf\xe9-\xff|"},
    {"pax-path", nullptr},
    {"pax-size-mtime-uid", "f|"},
    {"root-as-file", ".|f|"},
    {"setuid-sticky", "a|b|d/|e|"},
    {"sparse-old-gnu", "sparse-old|after|"},
    {"sparse-pax-0.0", "sp00|after|"},
    {"sparse-pax-1.0", "sp10|after|"},
    {"symlink-4096-target", "s|"},
    {"symlink-empty-target", "s|b|"},
    {"types-all", "c|b|p|wh|big|cont|s|"},
    {"ustar-100-char-name-no-nul", nullptr},
    {"v7-header", "v7file|v7dir/|"},
    {"wh-bare", ".wh.|f|"},
    {"wh-dir-component", ".wh.dir/|.wh.dir/x|"},
    {"wh-dir-same-layer-after", "d/x|.wh.d|"},
    {"wh-file", "d/|d/.wh.gone|"},
    {"wh-hardlink", "f|.wh.g|"},
    {"wh-opq", "d/|d/.wh..wh..opq|d/new|"},
    {"wh-opq-after-files", "d/|d/new|d/.wh..wh..opq|"},
    {"wh-opq-then-dir-entry", "d/.wh..wh..opq|d/|d/new|"},
    {"wh-same-layer-before", ".wh.f|f|"},
    {"wh-target-of-hardlink", ".wh.x|h|"},
    {"xattr-libarchive", "f|"},
    {"xattr-schily", "f|d/|"},
    {"xattr-unknown-ns", "f|"},
};

TEST(TarGolden, Accepted) {
  for (const auto& [name, entries] : kAccepted) {
    const TarReading reading = read_tar(unpacked(name));
    EXPECT_EQ(reading.message(), "") << name;
    if (entries != nullptr) {
      EXPECT_EQ(reading.names(), entries) << name;
    }
    EXPECT_EQ(reading.warnings.size(), name == "pax-global" || name == "pax-empty-value" ? 1u : 0u) << name;
  }
}

TEST(TarGolden, EveryVectorIsExpectedHere) {
  std::set<std::string> found;
  for (const auto& file : std::filesystem::directory_iterator(kFolder)) {
    const std::string name = file.path().filename().string();
    if (name.ends_with(".tar.gz")) found.insert(name.substr(0, name.size() - 7));
  }
  std::set<std::string> expected;
  for (const auto& [name, rejection] : kRejected) expected.insert(name);
  for (const auto& [name, entries] : kAccepted) expected.insert(name);
  EXPECT_EQ(found, expected);
}

std::vector<Entry> entries_of(const std::string& name) { return read_tar(unpacked(name)).entries; }

TEST(TarGolden, LongNames) {
  const auto gnu = entries_of("gnu-longname");
  ASSERT_EQ(gnu.size(), 2u);
  EXPECT_GT(gnu[0].name.size(), 100u);
  EXPECT_GT(gnu[1].target.size(), 100u);
  EXPECT_EQ(entries_of("ustar-100-char-name-no-nul").at(0).name, std::string(100, 'N'));
  EXPECT_EQ(entries_of("name-256").at(1).name, std::string(256, 'N'));
  EXPECT_GT(entries_of("path-4096").at(0).name.size(), 4095u);
  EXPECT_EQ(entries_of("symlink-4096-target").at(0).target, std::string(4096, 't'));
  EXPECT_EQ(entries_of("pax-path").at(0).name.substr(0, 9), "pax/long/");
  EXPECT_GT(entries_of("pax-linkpath").at(1).target.size(), 100u);
  EXPECT_EQ(entries_of("pax-linkpath").at(2).target, "target");
}

TEST(TarGolden, Numbers) {
  const Entry pax = entries_of("pax-size-mtime-uid").at(0);
  EXPECT_EQ(pax.uid, 4000000000u);
  EXPECT_EQ(pax.gid, 3000000000u);
  EXPECT_EQ(pax.size, 5u);
  EXPECT_EQ(pax.mtime, 1234567890);
  EXPECT_EQ(pax.mtime_nsec, 500'000'000u);
  EXPECT_EQ(entries_of("octal-space-padded").at(0).mtime, 07777777777);
  EXPECT_EQ(entries_of("ids-range").at(6).uid, 4294967294u);
  EXPECT_EQ(entries_of("mode-with-filetype-bits").at(2).permissions, 0755);
  const auto types = entries_of("types-all");
  ASSERT_EQ(types.size(), 7u);
  EXPECT_EQ(types[1].type, EntryType::kBlockDevice);
  EXPECT_EQ(types[4].device_major, 4095u);
  EXPECT_EQ(types[4].device_minor, 1048575u);
  EXPECT_EQ(types[5].type, EntryType::kFile);
}

TEST(TarGolden, Sparse) {
  for (const auto& [name, size] : {std::pair("sparse-old-gnu", 30000), std::pair("sparse-pax-0.0", 20000),
                                   std::pair("sparse-pax-1.0", 20000)}) {
    const std::string tar = unpacked(name);
    const auto entries = read_tar(tar).entries;
    ASSERT_EQ(entries.size(), 2u) << name;
    const std::string bytes = contents(tar, entries[0]);
    EXPECT_EQ(bytes.size(), static_cast<size_t>(size)) << name;
    EXPECT_EQ(bytes[0], '\0') << name;
    EXPECT_NE(bytes[4096], '\0') << name;
    EXPECT_EQ(contents(tar, entries[1]).size(), 1u) << name;
  }
}

TEST(TarGolden, Xattrs) {
  using Xattrs = std::map<std::string, std::string>;
  const auto schily = entries_of("xattr-schily");
  ASSERT_EQ(schily.size(), 2u);
  EXPECT_EQ(schily[0].xattrs.at("user.a"), std::string("A=B\nC\0D", 7));
  EXPECT_EQ(schily[0].xattrs.at("trusted.x"), "1");
  EXPECT_EQ(schily[0].xattrs.at("security.capability").size(), 20u);
  EXPECT_EQ(schily[0].xattrs.at("user.empty"), "");
  EXPECT_EQ(schily[1].xattrs, (Xattrs{{"trusted.overlay.opaque", "y"}}));
  EXPECT_EQ(entries_of("xattr-libarchive").at(0).xattrs,
            (Xattrs{{"user.b64", "hello"}, {"user.p%ct", "hi"}}));
  EXPECT_EQ(entries_of("pax-global").at(1).xattrs, (Xattrs{{"user.g", "mine"}}));
}

}  // namespace
}  // namespace seekable::tar
