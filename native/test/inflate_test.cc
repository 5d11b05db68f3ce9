#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <string>

#include "inflate/input.h"

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
  Error error{};
  bool failed = false;
};

Outcome inflated(const std::string& compressed, Compression compression, size_t step = 1 << 16) {
  Outcome outcome;
  const MemorySource source(as_bytes(compressed));
  auto inflater =
      Inflater::open(source, compression, [&](Bytes bytes) { outcome.input += std::string(as_text(bytes)); });
  EXPECT_TRUE(inflater.ok());
  std::string buffer(step, '\0');
  while (true) {
    Result<size_t> count = inflater.value()->read({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()});
    if (!count.ok()) {
      outcome.failed = true;
      outcome.error = count.error();
      return outcome;
    }
    if (count.value() == 0) return outcome;
    outcome.bytes.append(buffer, 0, count.value());
    if (count.value() < step) {  // a short count is the last one
      EXPECT_EQ(inflater.value()->read({reinterpret_cast<uint8_t*>(buffer.data()), 1}).value(), 0u);
      return outcome;
    }
  }
}

void expect_text(const std::string& compressed, Compression compression, const std::string& text,
                 size_t step = 1 << 16) {
  const Outcome outcome = inflated(compressed, compression, step);
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

TEST(Inflater, WholeStreamsInAnyStep) {
  const std::string text = sample(1'000'003);
  const std::string small = text.substr(0, 5000);
  for (const size_t step : {size_t{4096}, size_t{1} << 20, text.size()}) {
    expect_text(gzip(text), Compression::kGzip, text, step);
    expect_text(zstd(text), Compression::kZstd, text, step);
  }
  expect_text(gzip(small), Compression::kGzip, small, 1);
  expect_text(zstd(small), Compression::kZstd, small, 1);
  expect_text(gzip(""), Compression::kGzip, "");
  expect_text(zstd(""), Compression::kZstd, "");
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
  std::string header_crc = gzip("text");
  header_crc[3] = 2;                                  // FHCRC
  header_crc.insert(10, std::string("\x00\x00", 2));  // wrong on purpose
  expect_failure(header_crc, Compression::kGzip, ErrorCode::kCorrupt, "header crc mismatch");
  damaged = zstd("text");
  damaged[damaged.size() - 1] ^= 1;
  expect_failure(damaged, Compression::kZstd, ErrorCode::kCorrupt, "checksum");
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
    uint8_t byte = 0;
    const Result<size_t> count = inflater.value()->read({&byte, 1});
    ASSERT_FALSE(count.ok());
    EXPECT_EQ(count.error().code, ErrorCode::kIo);
  }
}

}  // namespace
}  // namespace seekable::inflate
