// Trees with many names, in random order, some of them taken several times.
#include "layer/tree_builder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <random>
#include <string>

#include "base/text_pool.h"
#include "layer/finish_tree.h"

namespace seekable::layer {
namespace {

using erofs::Inode;
using erofs::InodeId;
using erofs::Tree;

TEST(TextPool, KeepsTextsOfEveryLengthWhereTheyAre) {
  TextPool pool;
  std::vector<std::pair<std::string, PooledText>> texts;
  for (size_t length : {0, 1, 255, 4095, 65535, 3, 65535, 65534, 0}) {
    texts.emplace_back(std::string(length, static_cast<char>('a' + texts.size())), PooledText());
    texts.back().second = pool.add(texts.back().first);
  }
  for (int i = 0; i < 100000; ++i) texts.emplace_back(std::to_string(i), pool.add(std::to_string(i)));
  const TextPool moved = std::move(pool);
  for (const auto& [text, pooled] : texts) ASSERT_EQ(pooled.view(), text);
  EXPECT_EQ(PooledText().view(), "");
}

Inode file_of_size(uint64_t size) {
  Inode inode;
  inode.mode = S_IFREG | 0644;
  inode.size = size;
  return inode;
}

TEST(TreeBuilder, FindsEachOfManyNames) {
  TreeBuilder builder;
  std::map<std::string, std::map<std::string, uint64_t>> expected;  // directory → name → size
  std::mt19937 random(3);
  for (uint64_t size = 1; size < 60000; ++size) {
    const std::string directory = "d" + std::to_string(random() % 50);
    const std::string name(1 + random() % 3, static_cast<char>('a' + random() % 26));
    const std::string full = name + std::to_string(random() % 700);
    const InodeId parent = builder.directory_at(directory).value();
    const auto before = builder.child(parent, full);
    const auto known = expected[directory].find(full);
    ASSERT_EQ(before.has_value(), known != expected[directory].end());
    if (before) {
      ASSERT_EQ(builder.inode(*before).size, known->second);
    }
    ASSERT_TRUE(builder.add(parent, full, file_of_size(size)).ok());
    expected[directory][full] = size;
  }

  const Tree tree = std::move(finish_tree(std::move(builder).take(), {}).value());
  for (const auto& [directory, files] : expected) {
    const InodeId id = tree.child(Tree::kRoot, directory).value();
    const auto names = tree.names_in(tree.directory(tree.inodes[id]));
    ASSERT_EQ(names.size(), files.size());
    auto next = names.begin();
    for (const auto& [name, size] : files) {
      ASSERT_EQ(next->text.view(), name);
      ASSERT_EQ(tree.inodes[next->inode].size, size);
      ASSERT_EQ(tree.child(id, name), next->inode);
      ++next;
    }
    EXPECT_FALSE(tree.child(id, "not there").has_value());
  }
}

TEST(TreeBuilder, TellsEqualNamesInOtherDirectoriesApart) {
  TreeBuilder builder;
  for (uint64_t i = 0; i < 3000; ++i) {
    const InodeId directory = builder.directory_at("d" + std::to_string(i)).value();
    EXPECT_FALSE(builder.child(directory, "file").has_value());
    ASSERT_TRUE(builder.add(directory, "file", file_of_size(i)).ok());
  }
  for (uint64_t i = 0; i < 3000; ++i) {
    const auto found = builder.find("d" + std::to_string(i) + "/file").value();
    ASSERT_EQ(builder.inode(found.value().inode).size, i);
  }
}

TEST(Settle, TakesAWhiteoutOnceHoweverOftenItIsNamed) {
  TreeBuilder builder;
  const InodeId directory = builder.directory_at("d").value();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(builder.hide(directory, "gone").ok());
  ASSERT_TRUE(builder.hide(directory, "also").ok());
  const Tree tree = std::move(finish_tree(std::move(builder).take(), {}).value());
  const auto names = tree.names_in(tree.directory(tree.inodes[directory]));
  ASSERT_EQ(names.size(), 2U);
  EXPECT_EQ(names[0].text.view(), "also");
  EXPECT_EQ(names[1].text.view(), "gone");
  EXPECT_EQ(tree.inodes[names[1].inode].mode, S_IFCHR);
  EXPECT_EQ(tree.device(tree.inodes[names[1].inode]).minor, 0U);
}

}  // namespace
}  // namespace seekable::layer
