#include <gtest/gtest.h>

#include "tar/read_ahead.h"
#include "tar/reader.h"
#include "test/tar_builder.h"
#include "test/tar_reading.h"

namespace seekable::tar {
namespace {

using test::read_tar;
using test::TarBuilder;
using test::TarReading;

TEST(ReadAhead, GivesWhatTheReaderGives) {
  TarBuilder builder;
  for (int i = 0; i < 1000; ++i) {
    builder.pax({{"SCHILY.xattr.user.k", std::string(i % 7 * 1000, 'v')}})
        .file("f" + std::to_string(i), "data");
  }
  const std::string whole = builder.add({.name = "x", .typeflag = 'Z'}).end().bytes();
  for (const std::string& tar : {whole, whole.substr(0, whole.size() / 2 - 300), std::string(1024, '\0')}) {
    const TarReading expected = read_tar(tar);
    const MemorySource source(as_bytes(tar));
    Reader reader(source);
    ReadAhead ahead(reader);
    for (const Entry& entry : expected.entries) {
      Result<std::optional<Entry>> next = ahead.next();
      ASSERT_TRUE(next.ok() && next.value());
      EXPECT_EQ(next.value()->name, entry.name);
      EXPECT_EQ(next.value()->xattrs, entry.xattrs);
    }
    for (int i = 0; i < 2; ++i) {  // the end repeats, errors too
      const Result<std::optional<Entry>> last = ahead.next();
      EXPECT_EQ(last.ok(), !expected.failed);
      if (last.ok()) {
        EXPECT_FALSE(last.value());
      } else {
        EXPECT_EQ(last.error().what + ": " + last.error().why, expected.message());
      }
    }
    EXPECT_EQ(reader.warnings(), expected.warnings);
  }
}

TEST(ReadAhead, CanBeGivenUpAtAnyEntry) {
  TarBuilder builder;
  for (int i = 0; i < 2000; ++i) builder.file("f", "");
  const std::string tar = builder.end().bytes();
  const MemorySource source(as_bytes(tar));
  for (const int used : {0, 1, 200, 1999}) {
    Reader reader(source);
    ReadAhead ahead(reader);
    for (int i = 0; i < used; ++i) EXPECT_TRUE(ahead.next().value());
  }
}

}  // namespace
}  // namespace seekable::tar
