#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "hash/sha2.h"
#include "test/skip.h"
#include "verity/tree.h"

namespace seekable::verity {
namespace {

const std::string kData = SEEKABLE_TEST_DATA "/golden/verity/";
const std::string kTemporary = testing::TempDir();

std::string hex(Bytes bytes) {
  std::string out;
  for (const uint8_t byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    out += digits;
  }
  return out;
}

std::vector<uint8_t> from_hex(const std::string& text) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; text != "-" && i < text.size(); i += 2) {
    bytes.push_back(static_cast<uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// The image of the vectors' recipe, of any length.
class Recipe : public ByteSource {
 public:
  explicit Recipe(uint64_t size) : size_(size) {}
  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, MutableBytes out) const override {
    uint32_t product = static_cast<uint32_t>(offset) * 2654435761u;
    for (uint8_t& byte : out) {
      byte = static_cast<uint8_t>(product >> 24);
      product += 2654435761u;
    }
    return ok();
  }

 private:
  uint64_t size_;
};

std::vector<uint8_t> bytes_of(const ByteSource& source, size_t piece = SIZE_MAX) {
  std::vector<uint8_t> bytes(source.size());
  for (size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at)) {
    const size_t size = std::min(piece, bytes.size() - at);
    EXPECT_TRUE(source.read_at(at, MutableBytes(bytes).subspan(at, size)).ok());
  }
  return bytes;
}

Parameters parameters_of(hash::Algorithm algorithm, uint32_t block_size, std::vector<uint8_t> salt = {}) {
  return {algorithm, block_size, block_size, std::move(salt)};
}

Result<Tree> build_now(const Parameters& parameters, const ByteSource& data, unsigned threads = 2) {
  Job job;
  return build(parameters, data, threads, kTemporary, job);
}

// The 512 bytes before the tree, as the vectors have them, padded to one block.
std::vector<uint8_t> superblock(const Parameters& parameters, const std::string& algorithm,
                                uint64_t data_blocks) {
  std::vector<uint8_t> block(parameters.data_block_size);
  const std::vector<uint8_t> uuid = from_hex("11111111222233334444555555555555");
  std::copy_n("verity", 6, block.begin());
  store_le<uint32_t>(&block[8], 1);
  store_le<uint32_t>(&block[12], 1);
  std::copy(uuid.begin(), uuid.end(), block.begin() + 16);
  std::copy(algorithm.begin(), algorithm.end(), block.begin() + 32);
  store_le<uint32_t>(&block[64], parameters.data_block_size);
  store_le<uint32_t>(&block[68], parameters.hash_block_size);
  store_le<uint64_t>(&block[72], data_blocks);
  store_le<uint16_t>(&block[80], static_cast<uint16_t>(parameters.salt.size()));
  std::copy(parameters.salt.begin(), parameters.salt.end(), block.begin() + 88);
  return block;
}

struct Vector {
  std::string algorithm, salt, payload_sha256, root, file;
  uint32_t block_size;
  uint64_t data_blocks, payload_length;
};

std::vector<Vector> vectors() {
  std::vector<Vector> all;
  std::ifstream lines(kData + "vectors.txt");
  Vector v;
  while (lines >> v.algorithm >> v.block_size >> v.data_blocks >> v.salt >> v.payload_length >>
         v.payload_sha256 >> v.root >> v.file) {
    all.push_back(v);
  }
  return all;
}

TEST(Verity, Vectors) {
  const std::vector<Vector> all = vectors();
  ASSERT_EQ(all.size(), 174u);
  size_t files = 0;
  for (const Vector& v : all) {
    SCOPED_TRACE(v.algorithm + " " + std::to_string(v.block_size) + " x " + std::to_string(v.data_blocks) +
                 " " + v.salt);
    const auto algorithm = v.algorithm == "sha256" ? hash::Algorithm::kSha256 : hash::Algorithm::kSha512;
    const Parameters parameters = parameters_of(algorithm, v.block_size, from_hex(v.salt));
    const Recipe image(v.data_blocks * v.block_size);
    Result<Tree> tree = build_now(parameters, image);
    ASSERT_TRUE(tree.ok());
    EXPECT_EQ(hex(tree.value().root()), v.root);
    EXPECT_EQ(tree.value().data_blocks(), v.data_blocks);
    EXPECT_EQ(tree.value().size(), v.payload_length - v.block_size);
    std::vector<uint8_t> payload = superblock(parameters, v.algorithm, v.data_blocks);
    const std::vector<uint8_t> blocks = bytes_of(tree.value());
    payload.insert(payload.end(), blocks.begin(), blocks.end());
    EXPECT_EQ(payload.size(), v.payload_length);
    EXPECT_EQ(hex(hash::sha256(payload)), v.payload_sha256);
    if (v.file == "-") continue;
    std::ifstream file(kData + v.file, std::ios::binary);
    EXPECT_EQ(payload, std::vector<uint8_t>(std::istreambuf_iterator<char>(file), {}));
    ++files;
  }
  EXPECT_EQ(files, 7u);
}

TEST(Verity, ThreadsMakeNoDifference) {
  const Parameters parameters = parameters_of(hash::Algorithm::kSha512, 4096);
  const Recipe image((5 << 20) + 12345);
  const Result<Tree> one = build_now(parameters, image, 1);
  for (const unsigned threads : {0u, 2u, 3u, 16u}) {
    const Result<Tree> more = build_now(parameters, image, threads);
    EXPECT_EQ(hex(more.value().root()), hex(one.value().root()));
    EXPECT_EQ(bytes_of(more.value()), bytes_of(one.value()));
  }
}

TEST(Verity, LastBlockIsPaddedWithZeros) {
  const Parameters parameters = parameters_of(hash::Algorithm::kSha256, 1024);
  std::vector<uint8_t> bytes = bytes_of(Recipe(5000));
  const Result<Tree> partial = build_now(parameters, MemorySource(bytes));
  bytes.resize(5 * 1024);
  const Result<Tree> whole = build_now(parameters, MemorySource(bytes));
  EXPECT_EQ(hex(partial.value().root()), hex(whole.value().root()));
  EXPECT_EQ(partial.value().data_blocks(), 5u);
}

TEST(Verity, OneBlockHasNoTree) {
  const Parameters parameters = parameters_of(hash::Algorithm::kSha512, 4096);
  const std::vector<uint8_t> bytes = bytes_of(Recipe(4096));
  const Result<Tree> tree = build_now(parameters, MemorySource(bytes));
  EXPECT_EQ(tree.value().size(), 0u);
  EXPECT_EQ(hex(tree.value().root()), hex(hash::sha512(bytes)));
}

TEST(Verity, NothingToHashIsAnError) {
  const Parameters parameters;
  EXPECT_EQ(build_now(parameters, MemorySource({})).error().code, ErrorCode::kUsage);
  EXPECT_EQ(TreeBuilder(parameters, kTemporary).finish().error().code, ErrorCode::kUsage);
}

TEST(Verity, ParametersAreChecked) {
  EXPECT_TRUE(check({}).ok());
  EXPECT_TRUE(check({hash::Algorithm::kSha256, 512, 524288, std::vector<uint8_t>(256)}).ok());
  for (const uint32_t bad : {0u, 1u, 256u, 513u, 4095u, 1048576u, 0x80000000u}) {
    EXPECT_EQ(check({hash::Algorithm::kSha512, bad, 4096, {}}).error().code, ErrorCode::kUsage) << bad;
    EXPECT_EQ(check({hash::Algorithm::kSha512, 4096, bad, {}}).error().code, ErrorCode::kUsage) << bad;
  }
  const Parameters salted = parameters_of(hash::Algorithm::kSha512, 4096, std::vector<uint8_t>(257));
  EXPECT_EQ(check(salted).error().code, ErrorCode::kUsage);
  EXPECT_EQ(build_now(salted, Recipe(4096)).error().code, ErrorCode::kUsage);
}

TEST(Verity, DataAndHashBlocksOfDifferentSizes) {
  const Recipe image(100 * 512);
  const Parameters parameters{hash::Algorithm::kSha512, 512, 4096, {}};
  const Result<Tree> tree = build_now(parameters, image);
  const std::vector<uint8_t> blocks = bytes_of(tree.value());
  ASSERT_EQ(blocks.size(), 3u * 4096);
  EXPECT_EQ(hex(tree.value().root()), hex(hash::sha512(Bytes(blocks).first(4096))));
  EXPECT_EQ(hex(Bytes(blocks).first(64)), hex(hash::sha512(Bytes(blocks).subspan(4096, 4096))));
  EXPECT_EQ(hex(Bytes(blocks).subspan(4096 + 99 * 64, 64)),
            hex(hash::sha512(Bytes(bytes_of(image)).last(512))));
}

// The definition, level by level in memory.
std::vector<uint8_t> plain_tree(std::vector<uint8_t> digests, uint32_t block_size,
                                std::vector<uint8_t>& root) {
  std::vector<uint8_t> tree;
  while (digests.size() > 32) {
    digests.resize((digests.size() + block_size - 1) / block_size * block_size);
    tree.insert(tree.begin(), digests.begin(), digests.end());
    std::vector<uint8_t> above;
    for (size_t at = 0; at < digests.size(); at += block_size) {
      const auto digest = hash::sha256(Bytes(digests).subspan(at, block_size));
      above.insert(above.end(), digest.begin(), digest.end());
    }
    digests = above;
  }
  root = digests;
  return tree;
}

TEST(Verity, LargeLevelsSpill) {
  const Parameters parameters = parameters_of(hash::Algorithm::kSha256, 512);
  const std::vector<uint8_t> digests = bytes_of(Recipe(32 * 400001));  // 12.8 MB
  const std::filesystem::path directory = kTemporary + "/verity_spill";
  std::filesystem::create_directories(directory);
  TreeBuilder builder(parameters, directory);
  for (size_t at = 0, step = 32; at < digests.size(); step = step * 3 % 100000 / 32 * 32 + 32) {
    const size_t size = std::min(step, digests.size() - at);
    ASSERT_TRUE(builder.append(Bytes(digests).subspan(at, size)).ok());
    at += size;
  }
  const Result<Tree> tree = builder.finish();
  ASSERT_TRUE(tree.ok());
  EXPECT_TRUE(std::filesystem::is_empty(directory));
  std::vector<uint8_t> root;
  const std::vector<uint8_t> expected = plain_tree(digests, 512, root);
  EXPECT_EQ(hex(tree.value().root()), hex(root));
  EXPECT_EQ(tree.value().size(), expected.size());
  EXPECT_TRUE(bytes_of(tree.value()) == expected);
  EXPECT_TRUE(bytes_of(tree.value(), 99991) == expected);
  uint8_t byte;
  EXPECT_EQ(tree.value().read_at(expected.size(), {&byte, 1}).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(tree.value().read_at(UINT64_MAX, {&byte, 1}).error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(tree.value().read_at(expected.size(), {}).ok());
}

TEST(Verity, OnlyLargeLevelsNeedTheDirectory) {
  const Parameters parameters = parameters_of(hash::Algorithm::kSha256, 512);
  const std::vector<uint8_t> digests(1 << 20);
  TreeBuilder builder(parameters, "/nonexistent");
  Status status = ok();
  size_t megabytes = 0;
  while (status.ok() && megabytes < 10) {
    status = builder.append(digests);
    if (status.ok()) ++megabytes;
  }
  EXPECT_EQ(megabytes, 1u);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::kIo);
}

TEST(Verity, JobCountsBytesAndCancels) {
  Job job;
  const Recipe image(3 << 20);
  ASSERT_TRUE(build({}, image, 2, kTemporary, job).ok());
  EXPECT_STREQ(job.phase(), "verity");
  EXPECT_EQ(job.done(), image.size());
  EXPECT_EQ(job.total(), image.size());
  job.cancel();
  EXPECT_EQ(build({}, image, 2, kTemporary, job).error().code, ErrorCode::kCancelled);
}

// Fails in two places; the later one is met first.
class Broken final : public Recipe {
 public:
  Broken() : Recipe(64 << 20) {}
  Status read_at(uint64_t offset, MutableBytes out) const override {
    const uint64_t piece = offset >> 20;
    if (piece == 7) {
      reached_.store(true);
      return corrupt("image", "late");
    }
    if (piece == 5) {
      for (int wait = 0; !reached_ && wait < 1000; ++wait)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return corrupt("image", "early");
    }
    return Recipe::read_at(offset, out);
  }

 private:
  mutable std::atomic<bool> reached_{false};
};

TEST(Verity, FirstErrorIsReported) {
  const Result<Tree> tree = build_now({}, Broken(), 4);
  ASSERT_FALSE(tree.ok());
  EXPECT_EQ(tree.error().why, "early");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // takes tens of seconds with them
TEST(Verity, OneGibibyte) {
  if (std::string(hash::level().sha512_many) == "portable")
    SKIP_BECAUSE("takes seconds without AVX2 or AVX-512");
  const Result<Tree> tree = build_now({}, Recipe(1 << 30));
  EXPECT_EQ(tree.value().size(), 17043456u);
  EXPECT_EQ(hex(tree.value().root()),
            "acdca020d7cb2c0eebf0a37682d09d76ff27c9d116e236a5c32e85cb7a55f6ba"
            "7948106f532790a648f64d873286c6919afb65f188a372bcc8cbc9e3d7eab811");
}
#endif

}  // namespace
}  // namespace seekable::verity
