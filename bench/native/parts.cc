// What a conversion can't do without, each part alone on one thread, with the core's own code: the raw limits
// that the benchmarks compare a whole run with. Prints one JSON object of CPU seconds (sizes in bytes).
//
//   parts write IMAGE LEVEL CHUNK LEAF   image → frames. LEAF: sha512, sha256 or none
//   parts read BLOB LEAF                 frames → image
//   parts stream FILE                    a file's SHA-256, and its decompression where it is zstd
//   parts merkle FILE LEAF               the leaves of a Merkle tree alone, also with OpenSSL one block at a
//   time parts frames IMAGE LEVEL CHUNK N     compression alone, on N threads: also wall seconds parts single
//   IMAGE LEVEL             one zstd frame of the whole image
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#if __has_include(<openssl/sha.h>)
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#define HAS_OPENSSL 1
#endif
#include <zstd.h>

#include "base/io.h"
#include "hash/messages.h"
#include "hash/sha2.h"
#include "verity/tree.h"
#include "zstd/frame.h"

namespace {

using namespace seekable;

constexpr size_t kPiece = 4 << 20;
constexpr size_t kBlock = 4096;

[[noreturn]] void die(const std::string& what, const std::string& why) {
  fprintf(stderr, "error: %s: %s\n", what.c_str(), why.c_str());
  exit(1);
}

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) die(result.error().what, result.error().why);
  return std::move(result.value());
}

double cpu_seconds(clockid_t clock = CLOCK_THREAD_CPUTIME_ID) {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// CPU seconds and sizes by name, as they are printed.
class Account {
 public:
  template <typename Work>
  auto time(const char* part, Work work) {
    const double start = cpu_seconds();
    if constexpr (std::is_void_v<decltype(work())>) {
      work();
      seconds_[part] += cpu_seconds() - start;
    } else {
      auto result = work();
      seconds_[part] += cpu_seconds() - start;
      return result;
    }
  }
  void add(const char* part, double seconds) { seconds_[part] += seconds; }
  void count(const char* name, uint64_t bytes) { bytes_[name] += bytes; }
  void print() const {
    printf("{\"seconds\":{");
    const char* comma = "";
    for (const auto& [name, value] : seconds_) {
      printf("%s\"%s\":%.6f", comma, name.c_str(), value);
      comma = ",";
    }
    printf("},\"bytes\":{");
    comma = "";
    for (const auto& [name, value] : bytes_) {
      printf("%s\"%s\":%llu", comma, name.c_str(), static_cast<unsigned long long>(value));
      comma = ",";
    }
    printf("}}\n");
  }

 private:
  std::map<std::string, double> seconds_;
  std::map<std::string, uint64_t> bytes_;
};

File open_file(const char* path) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) die(path, strerror(errno));
  return File(descriptor, path);
}

// An unlinked file in the folder that the benchmarks work in: its page cache is what outputs are copied to.
File scratch_file() {
  const char* directory = getenv("TMPDIR");
  return must(File::temporary(directory == nullptr ? "/tmp" : directory));
}

std::optional<verity::Parameters> leaf_parameters(const std::string& name) {
  if (name == "none") return std::nullopt;
  verity::Parameters parameters;
  if (name == "sha256")
    parameters.algorithm = hash::Algorithm::kSha256;
  else if (name != "sha512")
    die(name, "no hash for leaves");
  return parameters;
}

// Hashes the blocks of chunks as dm-verity does.
class Leaves {
 public:
  Leaves(Account& account, const std::string& name) : account_(account), parameters_(leaf_parameters(name)) {}
  void hash(Bytes chunk) {
    if (!parameters_) return;
    digests_.resize((chunk.size() + kBlock - 1) / kBlock * hash::digest_size(parameters_->algorithm));
    account_.time("leaves", [&] { verity::hash_leaves(*parameters_, chunk, digests_.data()); });
  }

 private:
  Account& account_;
  std::optional<verity::Parameters> parameters_;
  std::vector<uint8_t> digests_;
};

// SHA-256 of an image and of its blob: each alone, and in step, which costs less.
class Streams {
 public:
  explicit Streams(Account& account) : account_(account) {}
  void hash(Bytes image, Bytes blob) {
    account_.time("imageSha256", [&] { image_.update(image); });
    account_.time("blobSha256", [&] { blob_.update(blob); });
    account_.time("bothSha256", [&] { hash::Sha256::update_both(image_beside_, image, blob_beside_, blob); });
  }

 private:
  Account& account_;
  hash::Sha256 image_, blob_, image_beside_, blob_beside_;
};

// SHA-512 of frames, several in step as where many are at hand.
class FrameDigests {
 public:
  explicit FrameDigests(Account& account) : account_(account) {}
  ~FrameDigests() { hash(); }
  void add(Bytes frame) {
    frames_.emplace_back(frame.begin(), frame.end());
    if (frames_.size() == kInStep) hash();
  }

 private:
  static constexpr size_t kInStep = 16;
  void hash() {
    const std::vector<Bytes> messages(frames_.begin(), frames_.end());
    std::vector<hash::Sha512Digest> digests(messages.size());
    account_.time("frameSha512", [&] { hash::sha512_each(messages, digests); });
    frames_.clear();
  }

  Account& account_;
  std::vector<std::vector<uint8_t>> frames_;
};

void measure_write(const char* path, int level, size_t chunk_size, const std::string& leaf) {
  Account account;
  const File image = open_file(path);
  const uint64_t size = must(image.size());
  const File target = scratch_file();
  Leaves leaves(account, leaf);
  Streams streams(account);
  std::optional<FrameDigests> digests(std::in_place, account);
  auto encoder = must(zstd::FrameEncoder::create(level, chunk_size));
  std::vector<uint8_t> chunk(chunk_size), frame(zstd::frame_bound(chunk_size));
  Job job;
  uint64_t written = 0;
  for (uint64_t offset = 0; offset < size; offset += chunk_size) {
    const MutableBytes plain(chunk.data(), std::min<uint64_t>(chunk_size, size - offset));
    account.time("read", [&] { must(image.read_at(offset, plain)); });
    leaves.hash(plain);
    const size_t length = account.time("zstd", [&] { return must(encoder.encode(plain, frame, job)); });
    const Bytes packed(frame.data(), length);
    digests->add(packed);
    streams.hash(plain, packed);
    account.time("write", [&] { must(target.write_at(written, packed)); });
    written += length;
  }
  digests.reset();
  account.count("image", size);
  account.count("blob", written);
  account.print();
}

void measure_read(const char* path, const std::string& leaf) {
  Account account;
  const File blob = open_file(path);
  std::vector<uint8_t> bytes(must(blob.size()));
  account.time("read", [&] { must(blob.read_at(0, MutableBytes(bytes.data(), bytes.size()))); });
  const File target = scratch_file();
  Leaves leaves(account, leaf);
  Streams streams(account);
  std::optional<FrameDigests> digests(std::in_place, account);
  auto decoder = must(zstd::FrameDecoder::create());
  std::vector<uint8_t> chunk;
  uint64_t written = 0, frames = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t length = ZSTD_findFrameCompressedSize(&bytes[at], bytes.size() - at);
    if (ZSTD_isError(length)) die(path, "no zstd frame at " + std::to_string(at));
    const Bytes frame(&bytes[at], length);
    at += length;
    if (ZSTD_isSkippableFrame(frame.data(), frame.size())) {
      streams.hash({}, frame);
      continue;
    }
    chunk.resize(ZSTD_getFrameContentSize(frame.data(), frame.size()));
    account.time("frameSha512Alone", [&] { hash::sha512(frame); });
    digests->add(frame);
    account.time("unzstd",
                 [&] { must(decoder.decode(frame, MutableBytes(chunk.data(), chunk.size()), "frame")); });
    const Bytes plain(chunk.data(), chunk.size());
    leaves.hash(plain);
    streams.hash(plain, frame);
    account.time("write", [&] { must(target.write_at(written, plain)); });
    written += chunk.size();
    ++frames;
  }
  digests.reset();
  account.count("image", written);
  account.count("blob", bytes.size());
  account.count("frames", frames);
  account.print();
}

// Decompresses a zstd stream piece by piece, as it would be read, and hashes what comes out.
class Unzstd {
 public:
  explicit Unzstd(Account& account) : account_(account), stream_(ZSTD_createDStream()), out_(1 << 20) {}
  ~Unzstd() { ZSTD_freeDStream(stream_); }
  void take(Bytes piece) {
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    while (in.pos < in.size) {
      ZSTD_outBuffer out{out_.data(), out_.size(), 0};
      const size_t left = account_.time("unzstd", [&] { return ZSTD_decompressStream(stream_, &out, &in); });
      if (ZSTD_isError(left)) die("zstd", ZSTD_getErrorName(left));
      account_.time("contentSha256", [&] { digest_.update(Bytes(out_.data(), out.pos)); });
      account_.count("content", out.pos);
    }
  }

 private:
  Account& account_;
  ZSTD_DStream* stream_;
  std::vector<uint8_t> out_;
  hash::Sha256 digest_;
};

void measure_stream(const char* path) {
  Account account;
  const File file = open_file(path);
  const uint64_t size = must(file.size());
  std::vector<uint8_t> buffer(kPiece);
  hash::Sha256 digest;
  Unzstd unzstd(account);
  bool compressed = false;
  for (uint64_t offset = 0; offset < size; offset += kPiece) {
    const MutableBytes piece(buffer.data(), std::min<uint64_t>(kPiece, size - offset));
    account.time("read", [&] { must(file.read_at(offset, piece)); });
    if (offset == 0 && piece.size() >= 4) compressed = ZSTD_isFrame(piece.data(), piece.size());
    account.time("sourceSha256", [&] { digest.update(piece); });
    if (compressed) unzstd.take(piece);
  }
  account.count("source", size);
  account.print();
}

void openssl_blocks([[maybe_unused]] Bytes piece, [[maybe_unused]] bool is_sha512) {
#if HAS_OPENSSL
  uint8_t digest[SHA512_DIGEST_LENGTH];
  for (size_t at = 0; at + kBlock <= piece.size(); at += kBlock) {
    if (is_sha512)
      SHA512(piece.data() + at, kBlock, digest);
    else
      SHA256(piece.data() + at, kBlock, digest);
  }
#endif
}

void measure_merkle(const char* path, const std::string& leaf) {
  Account account;
  const File file = open_file(path);
  const uint64_t size = must(file.size());
  std::vector<uint8_t> buffer(kPiece), copy(kPiece);
  Leaves leaves(account, leaf);
  for (uint64_t offset = 0; offset < size; offset += kPiece) {
    const MutableBytes piece(buffer.data(), std::min<uint64_t>(kPiece, size - offset));
    account.time("read", [&] { must(file.read_at(offset, piece)); });
    account.time("memcpy", [&] { memcpy(copy.data(), piece.data(), piece.size()); });
    leaves.hash(piece);
#if HAS_OPENSSL
    account.time("openssl", [&] { openssl_blocks(piece, leaf == "sha512"); });
#endif
  }
  account.count("image", size);
  account.print();
}

void measure_frames(const char* path, int level, size_t chunk_size, unsigned threads) {
  Account account;
  const File image = open_file(path);
  const uint64_t size = must(image.size());
  std::atomic<uint64_t> next{0}, packed{0};
  const auto start = std::chrono::steady_clock::now();
  const auto work = [&] {
    auto encoder = must(zstd::FrameEncoder::create(level, chunk_size));
    std::vector<uint8_t> chunk(chunk_size), frame(zstd::frame_bound(chunk_size));
    Job job;
    for (uint64_t offset; (offset = next.fetch_add(chunk_size)) < size;) {
      const MutableBytes plain(chunk.data(), std::min<uint64_t>(chunk_size, size - offset));
      must(image.read_at(offset, plain));
      packed += must(encoder.encode(plain, frame, job));
    }
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
  account.add("zstd", cpu_seconds(CLOCK_PROCESS_CPUTIME_ID));
  account.add("wall", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  account.count("image", size);
  account.count("blob", packed);
  account.print();
}

void measure_single(const char* path, int level) {
  Account account;
  const File image = open_file(path);
  const uint64_t size = must(image.size());
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  ZSTD_CCtx_setPledgedSrcSize(context, size);
  std::vector<uint8_t> piece(kPiece), packed(ZSTD_compressBound(kPiece));
  for (uint64_t offset = 0; offset < size; offset += kPiece) {
    const MutableBytes plain(piece.data(), std::min<uint64_t>(kPiece, size - offset));
    must(image.read_at(offset, plain));
    const auto mode = offset + plain.size() == size ? ZSTD_e_end : ZSTD_e_continue;
    ZSTD_inBuffer in{plain.data(), plain.size(), 0};
    size_t left = 0;
    do {
      ZSTD_outBuffer out{packed.data(), packed.size(), 0};
      left = account.time("zstd", [&] { return ZSTD_compressStream2(context, &out, &in, mode); });
      if (ZSTD_isError(left)) die("zstd", ZSTD_getErrorName(left));
      account.count("blob", out.pos);
    } while (in.pos < in.size || (mode == ZSTD_e_end && left > 0));
  }
  ZSTD_freeCCtx(context);
  account.count("image", size);
  account.print();
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> words(arguments + 1, arguments + count);
  const std::string command = words.empty() ? "" : words[0];
  if (command == "write" && words.size() == 5) {
    measure_write(arguments[2], atoi(arguments[3]), strtoull(arguments[4], nullptr, 10), words[4]);
  } else if (command == "read" && words.size() == 3) {
    measure_read(arguments[2], words[2]);
  } else if (command == "stream" && words.size() == 2) {
    measure_stream(arguments[2]);
  } else if (command == "frames" && words.size() == 5) {
    measure_frames(arguments[2], atoi(arguments[3]), strtoull(arguments[4], nullptr, 10), atoi(arguments[5]));
  } else if (command == "single" && words.size() == 3) {
    measure_single(arguments[2], atoi(arguments[3]));
  } else if (command == "merkle" && words.size() == 3) {
    measure_merkle(arguments[2], words[2]);
  } else {
    die("usage",
        "parts write IMAGE LEVEL CHUNK LEAF | read BLOB LEAF | stream FILE | merkle FILE LEAF | "
        "frames IMAGE LEVEL CHUNK THREADS | single IMAGE LEVEL");
  }
  return 0;
}
