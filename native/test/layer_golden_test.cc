// Every tar of test/golden/tar against test/golden/tar/expected: what the policy (docs/format/tar-policy.md)
// makes of it. Each expected file was compared by hand with the policy. It is either "error: PART OF THE
// MESSAGE" or the epoch and the number of warnings, followed by the tree as tree_listing.h writes it.
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "layer/tar_to_tree.h"
#include "test/tree_listing.h"

namespace seekable::test {
namespace {

namespace fs = std::filesystem;

const fs::path kVectors = SEEKABLE_TEST_DATA "/golden/tar";

std::string gunzip(const fs::path& path) {
  std::string bytes;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return bytes;
  char buffer[4096];
  for (int read = gzread(file, buffer, sizeof buffer); read > 0; read = gzread(file, buffer, sizeof buffer)) {
    bytes.append(buffer, static_cast<size_t>(read));
  }
  gzclose(file);
  return bytes;
}

std::string read_text(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// Names of the files that end with `suffix`, without it.
std::set<std::string> names_in(const fs::path& directory, const std::string& suffix) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    const std::string name = entry.path().filename();
    if (name.ends_with(suffix)) names.insert(name.substr(0, name.size() - suffix.size()));
  }
  return names;
}

std::string outcome(const std::string& tar) {
  const MemorySource source(as_bytes(tar));
  Job job;
  const auto layer = layer::tar_to_tree(source, job);
  if (!layer.ok()) {
    const Error& error = layer.error();
    return std::string("error: ") + code_name(error.code) + " " + error.what + ": " + error.why + "\n";
  }
  return "epoch " + std::to_string(layer.value().tree.epoch) + ", warnings " +
         std::to_string(layer.value().warnings.size()) + "\n" + list_tree(layer.value().tree, source);
}

TEST(LayerGolden, EveryVectorIsWhatThePolicySays) {
  for (const std::string& name : names_in(kVectors, ".tar.gz")) {
    SCOPED_TRACE(name);
    const std::string expected = read_text(kVectors / "expected" / (name + ".txt"));
    const std::string actual = outcome(gunzip(kVectors / (name + ".tar.gz")));
    if (!expected.starts_with("error: ")) {
      EXPECT_EQ(actual, expected);
      continue;
    }
    const std::string part = expected.substr(7, expected.find('\n') - 7);
    EXPECT_TRUE(actual.starts_with("error: ") && actual.find(part) != std::string::npos) << actual;
  }
}

TEST(LayerGolden, EveryVectorHasAnExpectation) {
  const auto vectors = names_in(kVectors, ".tar.gz");
  EXPECT_GE(vectors.size(), 76u);
  EXPECT_EQ(vectors, names_in(kVectors / "expected", ".txt"));
}

}  // namespace
}  // namespace seekable::test
