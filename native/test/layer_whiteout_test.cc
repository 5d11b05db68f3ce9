// Names that hide what the layers below have: docs/format/tar-policy.md.
#include <gtest/gtest.h>

#include <string>

#include "test/layer_fixture.h"

namespace seekable::test {
namespace {

constexpr char kOrigin[] = "trusted.overlay.origin= ";
constexpr char kOpaque[] = "trusted.overlay.opaque=y ";

TEST(Whiteout, IsACharacterDevice) {
  const ReadLayer layer(TarBuilder()
                            .add({.name = "d/", .typeflag = '5', .mode = 0700, .mtime = 5})
                            .add({.name = "d/.wh.gone", .mode = 0644, .uid = 7, .gid = 8, .mtime = 99}));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names("d"), "gone ");
  EXPECT_EQ(layer.line("d/gone"), "chr 0000 0:0 5.000000000 nlink 1 0:0");
  EXPECT_EQ(layer.line("d"), "dir 0700 0:0 5.000000000 nlink 2 trusted.overlay.origin=");
  EXPECT_EQ(layer.xattrs(""), "");
}

TEST(Whiteout, OfAnyTypeIsOne) {
  for (const char type : {'0', '1', '2', '3', '5', '6'}) {
    const ReadLayer layer(TarBuilder().add({.name = ".wh.g", .typeflag = type, .target = "nowhere"}));
    EXPECT_EQ(layer.line("g"), "chr 0000 0:0 0.000000000 nlink 1 0:0") << type;
    EXPECT_EQ(layer.xattrs(""), kOrigin);
  }
}

TEST(Whiteout, ImpliesItsParent) {
  const ReadLayer layer(TarBuilder().file("x/y/.wh.z", ""));
  EXPECT_EQ(layer.line("x/y"), "dir 0755 0:0 0.000000000 nlink 2 trusted.overlay.origin=");
  EXPECT_EQ(layer.names("x/y"), "z ");
}

TEST(Whiteout, GoesThroughLinkedParents) {
  const ReadLayer layer(TarBuilder().directory("d").symlink("s", "d").file("s/.wh.x", ""));
  EXPECT_EQ(layer.names("d"), "x ");
  const ReadLayer kept(TarBuilder().file("d/x", "1").symlink("s", "d").file("s/.wh.x", ""));
  EXPECT_EQ(kept.content("d/x"), "1");
}

TEST(Whiteout, EntryOfTheSameNameStaysInAnyOrder) {
  const ReadLayer after(TarBuilder().file("f", "1").file(".wh.f", ""));
  EXPECT_EQ(after.content("f"), "1");
  EXPECT_EQ(after.xattrs(""), "");
  const ReadLayer before(TarBuilder().file(".wh.f", "").file("f", "1"));
  EXPECT_EQ(before.content("f"), "1");
  EXPECT_EQ(before.xattrs(""), "");
}

TEST(Whiteout, MakesADirectoryOfTheSameNameOpaqueInAnyOrder) {
  EXPECT_EQ(ReadLayer(TarBuilder().directory("d").file(".wh.d", "")).xattrs("d"), kOpaque);
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh.d", "").directory("d")).xattrs("d"), kOpaque);
  EXPECT_EQ(ReadLayer(TarBuilder().file("d/x", "").file(".wh.d", "")).xattrs("d"), kOpaque);
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh.d", "").file("d/x", "")).xattrs("d"), kOpaque);
  const ReadLayer in_turn(TarBuilder().file(".wh.d", "").file("d", "").directory("d"));
  EXPECT_EQ(in_turn.xattrs("d"), kOpaque);
  EXPECT_EQ(in_turn.xattrs(""), "");
}

TEST(Whiteout, TwiceIsOnce) {
  const ReadLayer layer(TarBuilder().file(".wh.f", "").file("./.wh.f", ""));
  EXPECT_EQ(layer.names(""), "f ");
  EXPECT_EQ(layer.xattrs(""), kOrigin);
  EXPECT_EQ(layer.tree().inodes.size(), 2u);
}

TEST(Whiteout, DeviceOfATarIsKeptAsItIs) {
  const ReadLayer layer(TarBuilder().device("wh", '3', 0, 0));
  EXPECT_EQ(layer.line("wh"), "chr 0644 0:0 1700000000.000000000 nlink 1 0:0");
  EXPECT_EQ(layer.xattrs(""), "");
}

TEST(Whiteout, OriginOfTheTarIsKept) {
  const ReadLayer layer(TarBuilder()
                            .pax({{"SCHILY.xattr.trusted.overlay.origin", "handle"}})
                            .directory("d")
                            .file("d/.wh.x", ""));
  EXPECT_EQ(layer.xattrs("d"), "trusted.overlay.origin=handle ");
}

TEST(Whiteout, GoesWithItsDirectory) {
  const ReadLayer layer(
      TarBuilder().file("d/.wh.x", "").file("d/.wh..wh..opq", "").file("d", "1").directory("d"));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names("d"), "");
  EXPECT_EQ(layer.xattrs("d"), "");
}

TEST(Whiteout, OfANameOfTheGreatestLength) {
  const std::string name(255, 'n');
  const ReadLayer layer(TarBuilder().pax({{"path", ".wh." + name}}).file("w", ""));
  EXPECT_EQ(layer.names(""), name + " ");
  EXPECT_FALSE(ReadLayer(TarBuilder().pax({{"path", ".wh." + name + "n"}}).file("w", "")).ok());
}

TEST(Whiteout, OfNoNameIsRefused) {
  EXPECT_EQ(ReadLayer(TarBuilder().file("d/.wh.", "")).error(),
            "REFUSED entry d/.wh.: a whiteout of no name");
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh..", "")).error(), "REFUSED entry .wh..: a whiteout of no name");
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh...", "")).error(),
            "REFUSED entry .wh...: a whiteout of no name");
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh....", "")).names(""), "... ");
}

TEST(Whiteout, IsNoDirectory) {
  for (const char* name : {".wh.d/x", "a/.wh.d/x", ".wh.d/.wh.x", ".wh..wh..opq/x", ".wh./x"}) {
    const std::string error = ReadLayer(TarBuilder().file(name, "")).error();
    EXPECT_TRUE(error.starts_with("REFUSED entry " + std::string(name) + ": leads through the whiteout"))
        << error;
  }
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh.d/../x", "")).names(""), "x ");
  EXPECT_EQ(ReadLayer(TarBuilder().file("a.wh.b/x", "")).names(""), "a.wh.b ");
}

TEST(Whiteout, IsNoDirectoryBehindALinkEither) {
  EXPECT_EQ(ReadLayer(TarBuilder().symlink("s", ".wh.d").file("s/x", "")).error(),
            "REFUSED entry s/x: a symbolic link on its path leads to the whiteout .wh.d");
}

TEST(Opaque, InAnyOrder) {
  EXPECT_EQ(ReadLayer(TarBuilder().directory("d").file("d/.wh..wh..opq", "").file("d/f", "")).xattrs("d"),
            kOpaque);
  EXPECT_EQ(ReadLayer(TarBuilder().directory("d").file("d/f", "").file("d/.wh..wh..opq", "")).xattrs("d"),
            kOpaque);
  const ReadLayer before(
      TarBuilder()
          .file("d/.wh..wh..opq", "")
          .pax({{"SCHILY.xattr.user.a", "1"}, {"SCHILY.xattr.trusted.overlay.opaque", "n"}})
          .add({.name = "d", .typeflag = '5', .mode = 0750}));
  EXPECT_EQ(before.xattrs("d"), std::string(kOpaque) + "user.a=1 ");
  EXPECT_EQ(before.find("d")->mode & 07777, 0750);
  EXPECT_EQ(before.names("d"), "");
}

TEST(Opaque, Root) {
  EXPECT_EQ(ReadLayer(TarBuilder().file(".wh..wh..opq", "")).xattrs(""), kOpaque);
  EXPECT_EQ(ReadLayer(TarBuilder().file("./.wh..wh..opq", "").directory("./")).xattrs(""), kOpaque);
}

TEST(Opaque, ImpliesItsDirectoryThroughLinks) {
  const ReadLayer layer(TarBuilder().symlink("s", "x/y").file("s/.wh..wh..opq", ""));
  EXPECT_EQ(layer.xattrs("x/y"), kOpaque);
  EXPECT_EQ(layer.xattrs("x"), "");
}

TEST(Opaque, AndAWhiteoutInside) {
  const ReadLayer layer(TarBuilder().file("d/.wh..wh..opq", "").file("d/.wh.x", ""));
  EXPECT_EQ(layer.xattrs("d"), std::string(kOpaque) + kOrigin);
}

TEST(BottomLayer, HidesNothing) {
  const ReadLayer layer(TarBuilder()
                            .directory("d")
                            .file("d/.wh.gone", "")
                            .file("d/.wh..wh..opq", "")
                            .file("e/.wh.x", "")
                            .file("e/x", "1")
                            .device("wh", '3', 0, 0)
                            .add({.name = "again", .typeflag = '1', .target = "wh"})
                            .device("null", '3', 1, 3)
                            .device("block", '4', 0, 0),
                        {.bottom_layer = true});
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names(""), "block d e null ");
  EXPECT_EQ(layer.names("d"), "");
  EXPECT_EQ(layer.xattrs("d"), "");
  EXPECT_EQ(layer.names("e"), "x ");
  EXPECT_EQ(layer.xattrs("e"), "");
}

TEST(BottomLayer, MayHaveADirectoryBesideItsWhiteout) {
  const ReadLayer layer(TarBuilder().file(".wh.d", "").file("d/x", ""), {.bottom_layer = true});
  EXPECT_EQ(layer.names(""), "d ");
  EXPECT_EQ(layer.xattrs("d"), "");
}

TEST(BottomLayer, LosesTheMarksOfTheTarOnly) {
  const ReadLayer layer(TarBuilder()
                            .pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"}, {"SCHILY.xattr.user.a", "1"}})
                            .directory("d")
                            .pax({{"SCHILY.xattr.trusted.overlay.opaque", "y"}})
                            .directory("e"),
                        {.bottom_layer = true});
  EXPECT_EQ(layer.xattrs("d"), "user.a=1 ");
  EXPECT_EQ(layer.xattrs("e"), "");
}

TEST(BottomLayer, StillRefusesWhatIsNoWhiteout) {
  EXPECT_EQ(ReadLayer(TarBuilder().file("d/.wh.", ""), {.bottom_layer = true}).error(),
            "REFUSED entry d/.wh.: a whiteout of no name");
}

TEST(Bookkeeping, IsDroppedWithEverythingBelow) {
  const ReadLayer layer(TarBuilder()
                            .directory(".wh..wh.plnk")
                            .file(".wh..wh.plnk/1.2", "")
                            .file("new/.wh..wh.orph/.wh.x/y", "")
                            .file(".wh..wh.aufs", "")
                            .file(".wh.d/.wh..wh.plnk", "")
                            .file(".wh.d/.wh..wh.plnk/x", "")
                            .file(".wh..wh.", "")
                            .file("f", ""));
  EXPECT_EQ(layer.error(), "ok");
  EXPECT_EQ(layer.names(""), "f ");
  EXPECT_TRUE(layer.warnings().starts_with("entry .wh..wh.plnk: dropped: AUFS's own bookkeeping"));
}

}  // namespace
}  // namespace seekable::test
