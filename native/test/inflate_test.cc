#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <string>
#include <vector>

#include "inflate/feed.h"
#include "inflate/gzip_inflater.h"
#include "inflate/input.h"
#include "inflate/zstd_inflater.h"

namespace seekable::inflate {
namespace {

std::string gzip(const std::string& text) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text, int window_log = 0) {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer input{text.data(), text.size(), 0};
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  // Flushed first, so that the frame's size isn't known and its window is as asked.
  ZSTD_compressStream2(context, &output, &input, ZSTD_e_flush);
  EXPECT_EQ(ZSTD_compressStream2(context, &output, &input, ZSTD_e_end), 0u);
  ZSTD_freeCCtx(context);
  out.resize(output.pos);
  return out;
}

std::string skippable(const std::string& content) {
  const auto size = static_cast<char>(content.size());
  return std::string("\x5e\x2a\x4d\x18", 4) + size + std::string(3, '\0') + content;
}

struct Outcome {
  std::string bytes;
  std::string input;  // what the callback saw
  std::vector<size_t> pieces;
  Error error{};
  bool failed = false;
};

// `block`: how much of the source is read at once.
Outcome inflated(const std::string& compressed, Compression compression, size_t block = Feed::kBlock) {
  Outcome outcome;
  const MemorySource source(as_bytes(compressed));
  const auto see = [&](Bytes bytes) { outcome.input += std::string(as_text(bytes)); };
  auto inflater =
      compression == Compression::kGzip ? open_gzip(source, see, block) : open_zstd(source, see, block);
  EXPECT_TRUE(inflater.ok());
  while (true) {
    const Result<Bytes> piece = inflater.value()->next();
    if (!piece.ok()) {
      outcome.failed = true;
      outcome.error = piece.error();
      return outcome;
    }
    if (piece.value().empty()) break;
    outcome.pieces.push_back(piece.value().size());
    outcome.bytes += as_text(piece.value());
  }
  EXPECT_TRUE(inflater.value()->next().value().empty());  // and so it stays
  return outcome;
}

void expect_text(const std::string& compressed, Compression compression, const std::string& text,
                 size_t block = Feed::kBlock) {
  const Outcome outcome = inflated(compressed, compression, block);
  EXPECT_FALSE(outcome.failed) << outcome.error.why;
  EXPECT_TRUE(outcome.bytes == text) << outcome.bytes.size() << " bytes";
  EXPECT_TRUE(outcome.input == compressed) << outcome.input.size() << " bytes seen";
}

void expect_failure(const std::string& compressed, Compression compression, ErrorCode code,
                    const std::string& why) {
  const Outcome outcome = inflated(compressed, compression);
  ASSERT_TRUE(outcome.failed) << why;
  EXPECT_EQ(outcome.error.code, code) << outcome.error.why;
  EXPECT_NE(outcome.error.why.find(why), std::string::npos) << outcome.error.why;
}

// Compressible, but not too much.
std::string sample(size_t size) {
  std::string text;
  uint64_t state = 1;
  while (text.size() < size) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    text += std::to_string(state >> 40) + "some words that repeat\n";
  }
  text.resize(size);
  return text;
}

TEST(Detect, ByContent) {
  EXPECT_EQ(detect(as_bytes(gzip("x"))), Compression::kGzip);
  EXPECT_EQ(detect(as_bytes(zstd("x"))), Compression::kZstd);
  EXPECT_EQ(detect(as_bytes(skippable("x"))), Compression::kZstd);
  EXPECT_EQ(detect(as_bytes(std::string("ustar"))), Compression::kNone);
  EXPECT_EQ(detect(as_bytes(std::string("\x1f\x8b\x09\x00", 4))), Compression::kNone);
  EXPECT_EQ(detect(as_bytes(std::string("\x1f\x8b\x08"))), Compression::kNone);
  EXPECT_EQ(detect({}), Compression::kNone);
}

TEST(Inflater, RefusesUncompressed) {
  const MemorySource source({});
  const auto inflater = Inflater::open(source, Compression::kNone);
  ASSERT_FALSE(inflater.ok());
  EXPECT_EQ(inflater.error().code, ErrorCode::kUsage);
}

TEST(Inflater, SourcesReadInAnyBlocks) {
  const std::string text = sample(1'000'003);
  const std::string small = text.substr(0, 5000);
  for (const size_t block : {size_t{4096}, size_t{65537}, size_t{1} << 20}) {
    expect_text(gzip(text), Compression::kGzip, text, block);
    expect_text(zstd(text), Compression::kZstd, text, block);
  }
  for (const size_t block : {1, 2, 3, 7, 64}) {
    expect_text(gzip(small) + gzip(text) + std::string(9, '\0'), Compression::kGzip, small + text, block);
    expect_text(zstd(small), Compression::kZstd, small, block);
  }
  expect_text(gzip(""), Compression::kGzip, "");
  expect_text(zstd(""), Compression::kZstd, "");
}

TEST(Inflater, PiecesAreLarge) {
  const std::string text = sample(3'000'000);
  for (const Outcome& outcome :
       {inflated(gzip(text), Compression::kGzip), inflated(zstd(text), Compression::kZstd),
        inflated(gzip(text.substr(0, 5)) + gzip(text.substr(5)), Compression::kGzip)}) {
    EXPECT_TRUE(outcome.bytes == text);
    for (size_t i = 0; i + 1 < outcome.pieces.size(); ++i) EXPECT_GE(outcome.pieces[i], size_t{256} << 10);
  }
}

TEST(Inflater, ManyMembersAndFrames) {
  const std::string text = sample(300'000);
  expect_text(gzip(text) + gzip("") + gzip("tail"), Compression::kGzip, text + "tail");
  expect_text(skippable("abc") + zstd(text) + skippable("") + zstd("") + zstd("tail") + skippable("end"),
              Compression::kZstd, text + "tail");
  expect_text(skippable("alone"), Compression::kZstd, "");
}

TEST(Inflater, GzipPadding) {
  expect_text(gzip("text") + std::string(300'000, '\0'), Compression::kGzip, "text");
  expect_failure(gzip("text") + std::string(300'000, '\0') + "x", Compression::kGzip, ErrorCode::kCorrupt,
                 "follows its end");
  expect_failure(gzip("text") + '\0' + gzip("more"), Compression::kGzip, ErrorCode::kCorrupt,
                 "follows its end");
}

TEST(Inflater, TrailingGarbage) {
  expect_failure(gzip("text") + "garbage", Compression::kGzip, ErrorCode::kCorrupt,
                 "after member 1: incorrect header");
  expect_failure(zstd("text") + "garbage", Compression::kZstd, ErrorCode::kCorrupt, "Unknown frame");
  expect_failure(zstd("text") + std::string(8, '\0'), Compression::kZstd, ErrorCode::kCorrupt,
                 "Unknown frame");
}

TEST(Inflater, CutShortAnywhere) {
  const std::string text = sample(3000);
  for (const auto& [compressed, compression] : {std::pair(gzip(text) + gzip(text), Compression::kGzip),
                                                std::pair(zstd(text) + zstd(text), Compression::kZstd)}) {
    const size_t first = compressed.size() / 2;
    for (size_t length = 0; length < compressed.size(); ++length) {
      if (length == first) continue;  // a whole member or frame
      const Outcome outcome = inflated(compressed.substr(0, length), compression);
      ASSERT_TRUE(outcome.failed) << length;
      EXPECT_EQ(outcome.error.code, ErrorCode::kCorrupt);
      EXPECT_NE(outcome.error.why.find("cut short"), std::string::npos) << outcome.error.why;
    }
  }
}

TEST(Inflater, FlippedBits) {
  const std::string text = sample(2000);
  for (const auto& [compressed, compression] :
       {std::pair(gzip(text), Compression::kGzip), std::pair(zstd(text), Compression::kZstd)}) {
    for (size_t i = 0; i < compressed.size(); ++i) {
      std::string damaged = compressed;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
      const Outcome outcome = inflated(damaged, compression);
      EXPECT_TRUE(outcome.failed || outcome.bytes == text) << i;  // some header bits mean nothing
    }
    std::string damaged = compressed;
    damaged[compressed.size() / 2] ^= 1;
    EXPECT_TRUE(inflated(damaged, compression).failed);
  }
}

TEST(Inflater, ChecksumsAndLengths) {
  std::string damaged = gzip("text");
  damaged[damaged.size() - 1] ^= 1;
  expect_failure(damaged, Compression::kGzip, ErrorCode::kCorrupt, "incorrect length check");
  damaged = gzip("text");
  damaged[damaged.size() - 5] ^= 1;
  expect_failure(damaged, Compression::kGzip, ErrorCode::kCorrupt, "incorrect data check");
  damaged = zstd("text");
  damaged[damaged.size() - 1] ^= 1;
  expect_failure(damaged, Compression::kZstd, ErrorCode::kCorrupt, "checksum");
}

// gzip("text") with other bytes in place of its header.
std::string with_header(const std::string& header) { return header + gzip("text").substr(10); }

std::string with_header_crc(std::string header) {
  const auto crc =
      ::crc32(0, reinterpret_cast<const Bytef*>(header.data()), static_cast<uInt>(header.size()));
  header += static_cast<char>(crc & 0xff);
  header += static_cast<char>(crc >> 8 & 0xff);
  return header;
}

std::string header_of(char flags) { return std::string("\x1f\x8b\x08", 3) + flags + std::string(6, '\0'); }

TEST(Inflater, GzipHeaders) {
  const std::string extra(
      "\x03\x00\x00"
      "ab",
      5),
      name("name\0", 5), comment("a comment\0", 10);
  const std::string all = header_of(0x1f) + extra + name + comment;
  for (const size_t block : {size_t{1}, size_t{5}, Feed::kBlock}) {
    expect_text(with_header(header_of(4) + extra), Compression::kGzip, "text", block);
    expect_text(with_header(header_of(8) + name), Compression::kGzip, "text", block);
    expect_text(with_header(header_of(16) + comment), Compression::kGzip, "text", block);
    expect_text(with_header(with_header_crc(header_of(2))), Compression::kGzip, "text", block);
    expect_text(with_header(with_header_crc(all)), Compression::kGzip, "text", block);
    const std::string long_name(300'000, 'n');
    expect_text(with_header(header_of(8) + long_name + '\0'), Compression::kGzip, "text", block);
  }
  std::string damaged = with_header_crc(all);
  damaged[5] ^= 1;
  expect_failure(with_header(damaged), Compression::kGzip, ErrorCode::kCorrupt, "header crc mismatch");
  expect_failure(with_header(header_of(0x20)), Compression::kGzip, ErrorCode::kCorrupt,
                 "unknown header flags");
  expect_failure(with_header("\x1f\x8b\x07" + std::string(7, '\0')), Compression::kGzip, ErrorCode::kCorrupt,
                 "unknown compression method");
  for (size_t length = 0; length < all.size(); ++length) {
    expect_failure(all.substr(0, length), Compression::kGzip, ErrorCode::kCorrupt, "cut short");
  }
}

// Matches may not reach into the member before, though its bytes are still in memory.
TEST(Inflater, MembersDontShareHistory) {
  // One fixed block: length 3, distance 1, end of block.
  const std::string match("\x03\x02\x00", 3);
  const std::string trailer(8, '\0');
  expect_failure(gzip("text") + header_of(0) + match + trailer, Compression::kGzip, ErrorCode::kCorrupt,
                 "after member 1: invalid distance too far back");
}

TEST(Inflater, ZstdWindows) {
  expect_text(zstd("text", 27), Compression::kZstd, "text");
  expect_failure(zstd("text", 28), Compression::kZstd, ErrorCode::kUnsupported, "more than 128 MiB");
}

TEST(Inflater, ZstdDictionary) {
  const std::string with_id("\x28\xb5\x2f\xfd\x21\x07\x04\x21\x00\x00text", 14);  // a raw block, dictionary 7
  expect_failure(with_id, Compression::kZstd, ErrorCode::kUnsupported, "dictionary");
}

TEST(Inflater, ErrorsOfTheSourcePass) {
  class Failing final : public ByteSource {
   public:
    uint64_t size() const override { return 4096; }
    Status read_at(uint64_t, MutableBytes) const override { return system_error("disk", EIO); }
  };
  const Failing source;
  for (const Compression compression : {Compression::kGzip, Compression::kZstd}) {
    auto inflater = Inflater::open(source, compression);
    const Result<Bytes> piece = inflater.value()->next();
    ASSERT_FALSE(piece.ok());
    EXPECT_EQ(piece.error().code, ErrorCode::kIo);
  }
}

}  // namespace
}  // namespace seekable::inflate
