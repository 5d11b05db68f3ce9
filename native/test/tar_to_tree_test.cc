// Replacement, hard links, attributes and the epoch: docs/format/tar-policy.md.
#include "layer/tar_to_tree.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "test/layer_fixture.h"

namespace seekable::test {
namespace {

TEST(Replace, LastFileWins) {
  const ReadLayer layer(TarBuilder().file("a", "first").add({.name = "a", .data = "second", .mode = 0600}));
  EXPECT_EQ(layer.content("a"), "second");
  EXPECT_EQ(layer.find("a")->mode, S_IFREG | 0600);
  EXPECT_EQ(layer.find("a")->nlink, 1u);
}

TEST(Replace, DirectoryOverDirectoryMerges) {
  const ReadLayer layer(
      TarBuilder()
          .pax({{"SCHILY.xattr.user.old", "1"}, {"SCHILY.xattr.user.both", "1"}})
          .directory("a")
          .file("a/x", "1")
          .pax({{"SCHILY.xattr.user.both", "2"}, {"SCHILY.xattr.user.new", "2"}})
          .add({.name = "a", .typeflag = '5', .mode = 0700, .uid = 5, .gid = 6, .mtime = 2}));
  EXPECT_EQ(layer.names("a"), "x ");
  EXPECT_EQ(layer.xattrs("a"), "user.both=2 user.new=2 user.old=1 ");
  EXPECT_TRUE(layer.line("a").starts_with("dir 0700 5:6 2.000000000 nlink 2"));
}

TEST(Replace, DirectoryOverOther) {
  for (const char type : {'0', '2', '3', '6'}) {
    const ReadLayer layer(TarBuilder()
                              .pax({{"SCHILY.xattr.user.old", "1"}})
                              .add({.name = "a", .typeflag = type, .target = "t"})
                              .directory("a")
                              .file("a/x", ""));
    EXPECT_EQ(layer.names("a"), "x ") << type;
    EXPECT_EQ(layer.names(""), "a ") << type;
    EXPECT_EQ(layer.xattrs("a"), "") << type;
  }
}

TEST(Replace, DirectoryGoesWithAllBelow) {
  const ReadLayer layer(TarBuilder()
                            .file("d/e/f", "1")
                            .hard_link("kept", "d/e/f")
                            .hard_link("kept2", "d/e/f")
                            .file("d", "2")
                            .directory("d"));
  EXPECT_EQ(layer.names("d"), "");
  EXPECT_EQ(layer.find("d")->nlink, 2u);
  EXPECT_EQ(layer.find("")->nlink, 3u);
  // The names inside the old directory are no links any more.
  EXPECT_EQ(layer.content("kept"), "1");
  EXPECT_EQ(layer.find("kept")->nlink, 2u);
  for (const char* gone : {"symlink", "fifo"}) {
    const char type = gone[0] == 's' ? '2' : '6';
    EXPECT_EQ(ReadLayer(TarBuilder().file("d/f", "").add({.name = "d", .typeflag = type, .target = "t"}))
                  .names("d"),
              "no directory");
  }
}

TEST(Replace, OldPathsLeadThroughTheNewOne) {
  const ReadLayer layer(TarBuilder()
                            .file("a/b/old", "")
                            .file("c/other", "")
                            .symlink("a", "c")
                            .file("a/b/new", "")
                            .file("a/more", ""));
  EXPECT_EQ(layer.names("c"), "b more other ");
  EXPECT_EQ(layer.names("c/b"), "new ");
}

TEST(Replace, OldPathsThroughLinksLeadThroughWhatCameBetween) {
  const ReadLayer layer(TarBuilder()
                            .directory("d/e")
                            .directory("f")
                            .symlink("l", "m/../d")
                            .file("l/e/old", "")
                            .symlink("m", "f/g/h")
                            .file("l/e/new", ""));
  EXPECT_EQ(layer.names("d/e"), "old ");
  EXPECT_EQ(layer.names("f/g/d/e"), "new ");
}

TEST(HardLink, IsTheSameInode) {
  const ReadLayer layer(TarBuilder().file("d/f", "1").hard_link("h1", "./d/f").hard_link("h2", "/d//f"));
  EXPECT_EQ(layer.find("h1"), layer.find("d/f"));
  EXPECT_EQ(layer.find("h2"), layer.find("d/f"));
  EXPECT_EQ(layer.find("d/f")->nlink, 3u);
  EXPECT_EQ(layer.warnings(), "");
}

TEST(HardLink, TargetIsCleanedAndClamped) {
  const ReadLayer layer(
      TarBuilder().file("d/f", "1").hard_link("h1", "d/../d/f").hard_link("h2", "../../d/f/"));
  EXPECT_EQ(layer.find("h1"), layer.find("d/f"));
  EXPECT_EQ(layer.find("h2"), layer.find("d/f"));
}

TEST(HardLink, TargetBehindLinkedDirectories) {
  const ReadLayer layer(TarBuilder().file("d/f", "1").symlink("s", "/d").hard_link("h", "s/f"));
  EXPECT_EQ(layer.find("h"), layer.find("d/f"));
}

TEST(HardLink, KeepsTheInodeOfAReplacedFile) {
  const ReadLayer layer(TarBuilder().file("a", "old").hard_link("h", "a").file("a", "new"));
  EXPECT_EQ(layer.content("h"), "old");
  EXPECT_EQ(layer.content("a"), "new");
  EXPECT_EQ(layer.find("h")->nlink, 1u);
}

TEST(HardLink, ToASymlinkIsTheSameSymlink) {
  const ReadLayer layer(TarBuilder().file("f", "1").symlink("s", "f").hard_link("h", "s"));
  EXPECT_EQ(layer.find("h"), layer.find("s"));
  EXPECT_EQ(layer.tree().target(*layer.find("h")), "f");
  EXPECT_EQ(layer.find("h")->mode, S_IFLNK | 0777);
}

TEST(HardLink, ItsHeaderWins) {
  const ReadLayer layer(
      TarBuilder()
          .pax({{"SCHILY.xattr.user.a", "1"}})
          .add({.name = "f", .data = "1", .mode = 0644, .uid = 1, .gid = 2, .mtime = 3})
          .pax({{"SCHILY.xattr.user.b", "2"}})
          .add({.name = "h", .typeflag = '1', .target = "f", .mode = 04755, .uid = 7, .gid = 8, .mtime = 9}));
  EXPECT_TRUE(layer.line("f").starts_with("file 4755 7:8 9.000000000 nlink 2 size 1 "));
  EXPECT_EQ(layer.xattrs("f"), "user.a=1 user.b=2 ");
  EXPECT_EQ(
      layer.warnings(),
      "entry h: hard link to f with other mode, owner or time; as in a container, the link's are taken\n");
}

TEST(HardLink, ToItselfIsNothing) {
  const ReadLayer layer(
      TarBuilder().file("a", "1").add({.name = "./a", .typeflag = '1', .target = "a", .mode = 0777}));
  EXPECT_EQ(layer.content("a"), "1");
  EXPECT_EQ(layer.find("a")->mode, S_IFREG | 0644);
  EXPECT_EQ(layer.find("a")->nlink, 1u);
  EXPECT_EQ(ReadLayer(TarBuilder().file("d/a", "1").symlink("s", "d").hard_link("s/a", "d/a")).content("d/a"),
            "1");
}

TEST(HardLink, OfTheSameNameElsewhere) {
  const ReadLayer layer(TarBuilder().file("d/f", "1").hard_link("e/f", "d/f"));
  EXPECT_EQ(layer.find("e/f"), layer.find("d/f"));
  EXPECT_EQ(layer.find("d/f")->nlink, 2u);
}

TEST(HardLink, AgainIsOneName) {
  const ReadLayer layer(TarBuilder().file("a", "1").hard_link("h", "a").hard_link("h", "a"));
  EXPECT_EQ(layer.find("a")->nlink, 2u);
}

TEST(HardLink, ReplacesWhatHadItsName) {
  const ReadLayer layer(TarBuilder().file("a", "1").file("d/x", "").hard_link("d", "a"));
  EXPECT_EQ(layer.content("d"), "1");
}

TEST(HardLink, BadTargetsAreRefusedWithBothNames) {
  const auto error = [](TarBuilder tar, const char* target) {
    return ReadLayer(tar.hard_link("dir/b", target).file("later", "")).error();
  };
  const std::string start = "REFUSED entry dir/b: a hard link to ";
  EXPECT_EQ(error({}, "nope"), start + "'nope', which is no earlier entry of this layer");
  EXPECT_EQ(error({}, "no/pe"), start + "'no/pe', which is no earlier entry of this layer");
  EXPECT_EQ(error({}, "later"), start + "'later', which is no earlier entry of this layer");
  EXPECT_EQ(error(TarBuilder().directory("d"), "d"), start + "'d', which is a directory");
  EXPECT_EQ(error({}, "dir"), start + "'dir', which is no earlier entry of this layer");
  EXPECT_EQ(error({}, "."), start + "'.', which is the root");
  EXPECT_EQ(error({}, ""), start + "'', which is the root");
  EXPECT_EQ(error(TarBuilder().file(".wh.x", ""), ".wh.x"), start + "'.wh.x', which is a whiteout");
  EXPECT_EQ(error(TarBuilder().file(".wh.x", ""), "x"),
            start + "'x', which is no earlier entry of this layer");
  EXPECT_EQ(error(TarBuilder().file("f", ""), "f/g"), start + "'f/g': 'f' on its path is not a directory");
  EXPECT_EQ(error(TarBuilder().symlink("l", "l"), "l/g").substr(0, start.size() + 5), start + "'l/g'");
}

TEST(HardLink, ToDevicesAndPipes) {
  const ReadLayer layer(
      TarBuilder().device("c", '3', 1, 3).hard_link("c2", "c").device("p", '6', 0, 0).hard_link("p2", "p"));
  EXPECT_EQ(layer.find("c2"), layer.find("c"));
  EXPECT_EQ(layer.find("p2"), layer.find("p"));
}

TEST(Attributes, OfEveryType) {
  const ReadLayer layer(TarBuilder()
                            .pax({{"mtime", "-1.5"}})
                            .add({.name = "f", .data = "abc", .mode = 07777, .uid = 1, .gid = 65536})
                            .device("c", '3', 4095, 1048575)
                            .device("b", '4', 8, 0)
                            .add({.name = "p", .typeflag = '6', .mode = 0600})
                            .add({.name = "s", .typeflag = '2', .target = "nowhere", .mode = 0644})
                            .add({.name = "d", .typeflag = '5', .mode = 01777}));
  EXPECT_TRUE(layer.line("f").starts_with("file 7777 1:65536 -2.500000000 nlink 1 size 3 "))
      << layer.line("f");
  EXPECT_EQ(layer.line("c"), "chr 0644 0:0 1700000000.000000000 nlink 1 4095:1048575");
  EXPECT_EQ(layer.line("b"), "blk 0644 0:0 1700000000.000000000 nlink 1 8:0");
  EXPECT_EQ(layer.line("p"), "fifo 0600 0:0 1700000000.000000000 nlink 1");
  EXPECT_EQ(layer.line("s"), "symlink 0777 0:0 1700000000.000000000 nlink 1 -> nowhere");
  EXPECT_EQ(layer.find("s")->size, 7u);
  EXPECT_EQ(layer.line("d"), "dir 1777 0:0 1700000000.000000000 nlink 2");
}

TEST(Attributes, ExtentsPointIntoTheTar) {
  const ReadLayer layer(TarBuilder().file("empty", "").file("f", "abc"));
  EXPECT_EQ(layer.find("empty")->data, erofs::Inode::Data::kNone);
  EXPECT_EQ(layer.find("f")->data, erofs::Inode::Data::kWhole);
  EXPECT_EQ(layer.find("f")->content, 1024u);
  EXPECT_EQ(layer.find("f")->size, 3u);
}

TEST(Attributes, DevicesBeyondErofsAreRefused) {
  EXPECT_EQ(ReadLayer(TarBuilder().device("c", '3', 4096, 0)).error(),
            "REFUSED entry c: device 4096:0; at most 4095:1048575 fits");
  EXPECT_EQ(ReadLayer(TarBuilder().device("b", '4', 0, 1048576)).error(),
            "REFUSED entry b: device 0:1048576; at most 4095:1048575 fits");
}

TEST(Attributes, SymlinkTargets) {
  const auto link = [](const std::string& target) {
    return ReadLayer(TarBuilder().pax({{"linkpath", target}}).symlink("s", "")).error();
  };
  EXPECT_EQ(link(std::string(4095, 't')), "ok");
  EXPECT_EQ(link(std::string(4096, 't')),
            "REFUSED entry s: a symbolic link with a target of 4096 bytes; at most 4095 fit");
  EXPECT_EQ(ReadLayer(TarBuilder().symlink("s", "")).error(),
            "REFUSED entry s: a symbolic link without a target");
}

TEST(Xattrs, NamespacesOfErofsAreKept) {
  const ReadLayer layer(TarBuilder()
                            .pax({{"SCHILY.xattr.user.a", ""},
                                  {"SCHILY.xattr.trusted.b", "2"},
                                  {"SCHILY.xattr.security.c", std::string("\0\n=", 3)},
                                  {"SCHILY.xattr.system.posix_acl_access", "acl"},
                                  {"SCHILY.xattr.system.posix_acl_default", "def"}})
                            .directory("d"));
  EXPECT_EQ(layer.xattrs("d"),
            "security.c=" + std::string("\0\n=", 3) +
                " system.posix_acl_access=acl system.posix_acl_default=def trusted.b=2 user.a= ");
  EXPECT_EQ(layer.warnings(), "");
}

TEST(Xattrs, OthersAreDroppedWithAWarning) {
  const ReadLayer layer(TarBuilder()
                            .pax({{"SCHILY.xattr.weird.ns", "1"},
                                  {"SCHILY.xattr.system.nfs4_acl", "1"},
                                  {"SCHILY.xattr.user.", "1"},
                                  {"SCHILY.xattr.user", "1"},
                                  {"SCHILY.xattr.user.ok", "1"}})
                            .file("f", ""));
  EXPECT_EQ(layer.xattrs("f"), "user.ok=1 ");
  EXPECT_NE(layer.warnings().find("entry f: xattr weird.ns dropped: EROFS can't hold its namespace\n"),
            std::string::npos);
  EXPECT_NE(layer.warnings().find("xattr system.nfs4_acl dropped"), std::string::npos);
  EXPECT_NE(layer.warnings().find("xattr user. dropped"), std::string::npos);
  const ReadLayer none(TarBuilder().pax({{"SCHILY.xattr.weird.ns", "1"}}).file("f", ""));
  EXPECT_EQ(none.tree().xattrs_of(*none.find("f")), nullptr);
}

TEST(Xattrs, BeyondErofsAreRefused) {
  const auto xattr = [](size_t name, size_t value) {
    return ReadLayer(TarBuilder()
                         .pax({{"SCHILY.xattr.user." + std::string(name - 5, 'n'), std::string(value, 'v')}})
                         .file("f", ""))
        .error();
  };
  EXPECT_EQ(xattr(255, 65535), "ok");
  EXPECT_TRUE(xattr(256, 1).ends_with("has a name of 256 and a value of 1 bytes; at most 255 and 65535 fit"));
  EXPECT_TRUE(
      xattr(7, 65536).ends_with("has a name of 7 and a value of 65536 bytes; at most 255 and 65535 fit"));
}

TEST(Xattrs, TotalOfOneInodeIsBounded) {
  const auto with = [](int count) {
    PaxRecords records;
    for (int i = 0; i < count; ++i) {
      records.emplace_back("SCHILY.xattr.user.k" + std::to_string(i), std::string(65000, 'v'));
    }
    return records;
  };
  EXPECT_EQ(ReadLayer(TarBuilder().pax(with(4)).file("d/e/f", "")).error(), "ok");
  EXPECT_EQ(ReadLayer(TarBuilder().file("z", "").pax(with(5)).file("d/e/f", "")).error(),
            "REFUSED entry d/e/f: xattrs of 325072 bytes; at most 262148 fit");
  EXPECT_EQ(ReadLayer(TarBuilder().pax(with(5)).directory("d/e")).error(),
            "REFUSED entry d/e: xattrs of 325072 bytes; at most 262148 fit");
  EXPECT_EQ(ReadLayer(TarBuilder().pax(with(5)).directory("./")).error(),
            "REFUSED entry /: xattrs of 325072 bytes; at most 262148 fit");
  EXPECT_EQ(ReadLayer(TarBuilder().pax(with(5)).file("f", "").file("f", "")).error(), "ok");
}

TEST(Epoch, IsTheMostCommonTime) {
  const auto at = [](std::string name, long long mtime) {
    return Member{.name = std::move(name), .mtime = mtime};
  };
  EXPECT_EQ(ReadLayer(TarBuilder()).epoch(), 0);
  EXPECT_EQ(ReadLayer(TarBuilder().add(at("a", 9)).add(at("b", 5)).add(at("c", 9))).epoch(), 9);
  EXPECT_EQ(ReadLayer(TarBuilder().add(at("a", 9)).add(at("b", 5))).epoch(), 5);
  // Implied directories and whiteouts have no time of their own; replaced entries are gone; a link is no
  // inode.
  EXPECT_EQ(ReadLayer(TarBuilder().add(at("x/y/z", 9)).add(at(".wh.1", 5)).add(at(".wh.2", 5))).epoch(), 9);
  EXPECT_EQ(ReadLayer(TarBuilder().add(at("a", 9)).add(at("b", 5)).add(at("b", 5)).add(at("b", 10))).epoch(),
            9);
  EXPECT_EQ(ReadLayer(TarBuilder().add(at("d/1", 5)).add(at("d/2", 5)).add(at("d", 9))).epoch(), 9);
  EXPECT_EQ(ReadLayer(TarBuilder()
                          .add(at("a", 5))
                          .add({.name = "h", .typeflag = '1', .target = "a", .mtime = 5})
                          .add(at("b", 9))
                          .add(at("c", 9)))
                .epoch(),
            9);
}

TEST(Epoch, FloorsSeconds) {
  const ReadLayer layer(TarBuilder().pax({{"mtime", "-0.5"}}).file("x/a", ""));
  EXPECT_EQ(layer.epoch(), -1);
  EXPECT_EQ(layer.line("x"), "dir 0755 0:0 -1.000000000 nlink 2");
}

TEST(TarToTree, DirectoriesCountTheirSubdirectories) {
  const ReadLayer layer(
      TarBuilder().directory("a").directory("a/b").directory("a/c").file("a/f", "").directory("d"));
  EXPECT_EQ(layer.find("")->nlink, 4u);
  EXPECT_EQ(layer.find("a")->nlink, 4u);
  EXPECT_EQ(layer.find("a/b")->nlink, 2u);
}

TEST(TarToTree, ErrorsOfTheReaderPassThrough) {
  TarBuilder tar;
  tar.file("a", "").raw(std::string(512, 'x'));
  EXPECT_TRUE(ReadLayer(tar).error().starts_with("CORRUPT the entry after a:")) << ReadLayer(tar).error();
}

TEST(TarToTree, WarningsOfTheReaderComeFirst) {
  const ReadLayer layer(TarBuilder().pax({{"mtime", "1"}}, 'g').file("/a", ""));
  EXPECT_TRUE(layer.warnings().ends_with("\nentry /a: is absolute; taken from the image's root\n"))
      << layer.warnings();
}

TEST(TarToTree, CanBeCancelledAndCounts) {
  TarBuilder tar;
  tar.file("a", "1");
  const MemorySource source(as_bytes(tar.bytes()));
  Job job;
  EXPECT_TRUE(layer::tar_to_tree(source, job).ok());
  EXPECT_STREQ(job.phase(), "plan");
  EXPECT_EQ(job.total(), tar.bytes().size());
  EXPECT_EQ(job.done(), tar.bytes().size());
  job.cancel();
  const auto result = layer::tar_to_tree(source, job);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace seekable::test
