// Names of entries and what lies on their way: docs/format/tar-policy.md.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "layer/path.h"
#include "test/layer_fixture.h"

namespace seekable::test {
namespace {

using testing::Test;

std::string repeat(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// `file` with a name of any length.
TarBuilder& long_file(TarBuilder& tar, const std::string& name) {
  return tar.pax({{"path", name}}).file("short", "1");
}

TEST(CleanPath, DropsWhatNamesNothing) {
  EXPECT_EQ(layer::clean_path("a/b").text, "a/b");
  EXPECT_EQ(layer::clean_path("./a").text, "a");
  EXPECT_EQ(layer::clean_path("a//b/").text, "a/b");
  EXPECT_EQ(layer::clean_path("a/./b/.").text, "a/b");
  EXPECT_EQ(layer::clean_path("a/../b").text, "b");
  EXPECT_EQ(layer::clean_path("a/b/../../c").text, "c");
  EXPECT_EQ(layer::clean_path("...").text, "...");
  for (const char* root : {"", ".", "./", "/", "//", "/.", "a/..", "./a/../."}) {
    EXPECT_EQ(layer::clean_path(root).text, "") << root;
    EXPECT_FALSE(layer::clean_path(root).clamped) << root;
    EXPECT_FALSE(layer::clean_path(root).absolute) << root;
  }
}

TEST(CleanPath, ClampsToTheRoot) {
  for (const char* path : {"/a", "//a", "/b/../a"}) {
    EXPECT_EQ(layer::clean_path(path).text, "a") << path;
    EXPECT_TRUE(layer::clean_path(path).absolute) << path;
    EXPECT_FALSE(layer::clean_path(path).clamped) << path;
  }
  for (const char* path : {"../a", "/../a", "b/../../a", "../../../a"}) {
    EXPECT_EQ(layer::clean_path(path).text, "a") << path;
    EXPECT_TRUE(layer::clean_path(path).clamped) << path;
  }
  EXPECT_FALSE(layer::clean_path("b/../a").clamped);
}

TEST(LayerPath, FormsOfOneName) {
  const ReadLayer layer(
      TarBuilder().directory("./d").file("d//b", "1").file("d/./c", "2").file("d/../x", "3"));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names(""), "d x ");
  EXPECT_EQ(layer.names("d"), "b c ");
  EXPECT_EQ(layer.warnings(), "");
}

TEST(LayerPath, CleaningMakesNoDirectory) {
  EXPECT_EQ(ReadLayer(TarBuilder().file("d/e/../../x", "")).names(""), "x ");
}

TEST(LayerPath, ClampedWithAWarning) {
  const ReadLayer layer(TarBuilder().file("/abs", "1").file("../up", "2").file("d/../../e/f", "3"));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names(""), "abs e up ");
  EXPECT_EQ(layer.warnings(),
            "entry ../up: leads out of the root; taken as /up\n"
            "entry d/../../e/f: leads out of the root; taken as /e/f\n"
            "entry /abs: is absolute; taken from the image's root\n");
}

TEST(LayerPath, WarningsAreCountedBeyondTwenty) {
  TarBuilder tar;
  for (int i = 0; i < 23; ++i) tar.file("../" + std::to_string(i), "");
  const ReadLayer layer(tar);
  ASSERT_EQ(layer.error(), "ok");
  EXPECT_TRUE(layer.warnings().ends_with(
      "entry ../19: leads out of the root; taken as /19\n3 more warnings about entries\n"));
}

TEST(LayerPath, AbsoluteNamesGetOneWarning) {
  const ReadLayer layer(TarBuilder().file("/a", "").file("/b", "").file("/c", ""));
  EXPECT_EQ(layer.warnings(), "entry /a: is absolute, like 2 more; taken from the image's root\n");
}

TEST(LayerPath, EmptyNameIsRefused) {
  EXPECT_EQ(ReadLayer(TarBuilder().file("", "")).error(), "REFUSED entry '': an empty name");
}

TEST(LayerPath, RootEntrySetsTheRoot) {
  for (const char* name : {".", "./", "/", "d/..", "//"}) {
    const ReadLayer layer(
        TarBuilder()
            .pax({{"SCHILY.xattr.user.r", "v"}})
            .add({.name = name, .typeflag = '5', .mode = 0711, .uid = 1, .gid = 2, .mtime = 77}));
    EXPECT_EQ(layer.line(""), "dir 0711 1:2 77.000000000 nlink 2 user.r=76") << name;
    EXPECT_EQ(layer.warnings(), "") << name;
  }
}

TEST(LayerPath, RootIsOnlyEverADirectory) {
  EXPECT_EQ(ReadLayer(TarBuilder().file(".", "1")).error(),
            "REFUSED entry .: names the root, which can only be a directory");
  EXPECT_FALSE(ReadLayer(TarBuilder().symlink("/", "x")).ok());
  EXPECT_FALSE(ReadLayer(TarBuilder().file("f", "").hard_link("./", "f")).ok());
}

TEST(LayerPath, LimitsOfNames) {
  TarBuilder fits;
  EXPECT_TRUE(ReadLayer(long_file(fits, repeat("n", 255))).has(repeat("n", 255)));
  TarBuilder long_name;
  EXPECT_TRUE(ReadLayer(long_file(long_name, repeat("n", 256)))
                  .error()
                  .ends_with("a name of 256 bytes; at most 255 fit"));
  TarBuilder long_parent;
  EXPECT_TRUE(ReadLayer(long_file(long_parent, repeat("n", 256) + "/x"))
                  .error()
                  .ends_with("a name of 256 bytes; at most 255 fit"));
  TarBuilder cleaned_away;
  EXPECT_EQ(ReadLayer(long_file(cleaned_away, repeat("n", 256) + "/../x")).names(""), "x ");
}

TEST(LayerPath, LimitOfPaths) {
  const std::string path4095 = repeat("0123456789/", 372) + "abc";
  ASSERT_EQ(path4095.size(), 4095u);
  TarBuilder fits;
  EXPECT_TRUE(ReadLayer(long_file(fits, path4095)).has(path4095));
  TarBuilder too_long;
  EXPECT_TRUE(ReadLayer(long_file(too_long, path4095 + "d"))
                  .error()
                  .ends_with("a path of 4096 bytes; at most 4095 fit"));
}

// The limit counts what the path is, not how it was written.
TEST(LayerPath, LimitOfPathsBehindLinks) {
  const std::string deep = repeat("0123456789/", 370);
  TarBuilder tar;
  long_file(tar, deep + "x").pax({{"linkpath", deep}}).symlink("s", "");
  long_file(tar, "s/" + repeat("y", 24));
  EXPECT_TRUE(ReadLayer(tar).ok());
  long_file(tar, "s/" + repeat("y", 26));
  EXPECT_TRUE(ReadLayer(tar).error().ends_with("a path of 4096 bytes; at most 4095 fit"))
      << ReadLayer(tar).error();
}

TEST(LayerPath, AnyBytesAreKept) {
  const ReadLayer layer(TarBuilder().file("caf\xe9", "").file("new\nline", "").file("back\\slash", ""));
  EXPECT_EQ(layer.names(""), "back\\slash caf\xe9 new\nline ");
}

TEST(LayerPath, SlashAtTheEndOfAFileIsNothing) {
  const ReadLayer layer(TarBuilder().file("f/", "1"));
  EXPECT_EQ(layer.content("f"), "1");
}

TEST(LayerParents, AreImplied) {
  const ReadLayer layer(TarBuilder().add({.name = "x/y/z", .uid = 3, .gid = 4, .mtime = 7}));
  EXPECT_EQ(layer.line(""), "dir 0755 0:0 7.000000000 nlink 3");
  EXPECT_EQ(layer.line("x"), "dir 0755 0:0 7.000000000 nlink 3");
  EXPECT_EQ(layer.line("x/y"), "dir 0755 0:0 7.000000000 nlink 2");
}

TEST(LayerParents, EntryAfterItsChild) {
  const ReadLayer layer(
      TarBuilder().file("x/f", "").add({.name = "x", .typeflag = '5', .mode = 0700, .uid = 9, .mtime = 3}));
  EXPECT_EQ(layer.line("x"), "dir 0700 9:0 3.000000000 nlink 2");
  EXPECT_EQ(layer.names("x"), "f ");
}

TEST(LayerParents, FileIsRefused) {
  EXPECT_EQ(ReadLayer(TarBuilder().file("a", "").file("a/b", "")).error(),
            "REFUSED entry a/b: 'a' on its path is not a directory");
  EXPECT_EQ(ReadLayer(TarBuilder().device("c", '3', 0, 0).file("c/b/d", "")).error(),
            "REFUSED entry c/b/d: 'c' on its path is not a directory");
}

TEST(LayerLinks, AreFollowedInsideTheRoot) {
  const ReadLayer layer(TarBuilder()
                            .directory("tgt")
                            .symlink("rel", "tgt")
                            .symlink("abs", "/tgt")
                            .directory("d")
                            .symlink("d/up", "../../../tgt/.")
                            .file("rel/1", "")
                            .file("abs/2", "")
                            .file("d/up/3", ""));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names("tgt"), "1 2 3 ");
}

TEST(LayerLinks, DotDotInATargetIsTheRealParent) {
  const ReadLayer layer(
      TarBuilder().directory("a/b").symlink("s", "a/b").symlink("t", "s/../x").file("t/f", ""));
  EXPECT_EQ(layer.names("a"), "b x ");
  EXPECT_EQ(layer.names("a/x"), "f ");
}

TEST(LayerLinks, DanglingOnesImplyTheirTarget) {
  const ReadLayer layer(TarBuilder().symlink("s", "no/../m/n").file("s/f", ""));
  EXPECT_EQ(layer.names(""), "m s ");
  EXPECT_EQ(layer.names("m/n"), "f ");
}

TEST(LayerLinks, LoopsAndLongChainsAreRefused) {
  const std::string loop =
      ReadLayer(TarBuilder().symlink("a", "b").symlink("b", "a").file("a/f", "")).error();
  EXPECT_TRUE(loop.starts_with("REFUSED entry a/f: too many symbolic links on its path")) << loop;

  const auto chain = [](int links) {
    TarBuilder tar;
    tar.directory("l0");
    for (int i = 1; i <= links; ++i) tar.symlink("l" + std::to_string(i), "l" + std::to_string(i - 1));
    return tar.file("l" + std::to_string(links) + "/f", "");
  };
  EXPECT_EQ(ReadLayer(chain(40)).names("l0"), "f ");
  EXPECT_FALSE(ReadLayer(chain(41)).ok());
}

// One component each, so that two links of 1366 would be 2732 more lookups for one short name.
TEST(LayerLinks, TargetsOfOnePathAreBounded) {
  const std::string target = repeat("./", 1400);
  const std::string error =
      ReadLayer(TarBuilder().pax({{"linkpath", target}}).symlink("s", "").file("s/s/f", "")).error();
  EXPECT_NE(error.find("2 with 5600 bytes of targets"), std::string::npos) << error;
  const auto through = [](size_t first, size_t second) {
    return ReadLayer(TarBuilder()
                         .pax({{"linkpath", repeat("/", first)}})
                         .symlink("s", "")
                         .pax({{"linkpath", repeat("/", second)}})
                         .symlink("t", "")
                         .file("s/t/f", ""))
        .error();
  };
  EXPECT_EQ(through(2047, 2048), "ok");
  EXPECT_NE(through(2048, 2048).find("2 with 4096 bytes of targets"), std::string::npos);
}

TEST(LayerLinks, LastComponentIsNotFollowed) {
  const ReadLayer layer(TarBuilder().directory("real").symlink("a", "real").directory("a").file("a/x", "1"));
  EXPECT_EQ(layer.names("a"), "x ");
  EXPECT_EQ(layer.names("real"), "");
}

TEST(LayerLinks, ReplacedOnesLeadElsewhere) {
  const ReadLayer layer(TarBuilder()
                            .directory("one")
                            .directory("two")
                            .symlink("s", "one")
                            .file("s/1", "")
                            .symlink("s", "two")
                            .file("s/2", ""));
  EXPECT_EQ(layer.names("one"), "1 ");
  EXPECT_EQ(layer.names("two"), "2 ");
}

// The directory that the last entry went to is remembered. Here that entry replaces a part of the way to it.
TEST(LayerLinks, EntryThatCutsItsOwnPath) {
  EXPECT_EQ(ReadLayer(TarBuilder().symlink("d/s", ".").file("d/s/s", "").file("d/s/x", "")).error(),
            "REFUSED entry d/s/x: 's' on its path is not a directory");
  EXPECT_EQ(ReadLayer(TarBuilder().symlink("d/e/up", "..").file("d/e/up/e", "").file("d/e/up/x", "")).error(),
            "REFUSED entry d/e/up/x: 'e' on its path is not a directory");
  EXPECT_EQ(ReadLayer(TarBuilder().symlink("d/s", ".").file("d/s/s", "").file("x", "")).names(""), "d x ");
}

}  // namespace
}  // namespace seekable::test
