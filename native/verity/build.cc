// The tree over a whole source, its data blocks hashed on several threads.
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "base/buffer.h"
#include "base/checked.h"
#include "verity/tree.h"

namespace seekable::verity {

namespace {

constexpr uint64_t kPieceSize = 1 << 20;  // a multiple of every block size, and small enough for the cache

// Threads read and hash whichever piece is next, and append the digests one after the other in the pieces'
// order. Each thread holds one piece, which bounds memory.
class ParallelBuild {
 public:
  ParallelBuild(const Parameters& parameters, const ByteSource& data, const std::string& temporary_directory,
                Job& job)
      : parameters_(parameters), data_(data), job_(job), builder_(parameters, temporary_directory) {}

  Result<Tree> run(unsigned threads) {
    const uint64_t useful = std::min<uint64_t>(threads, ceil_divide(data_.size(), kPieceSize));
    std::vector<std::thread> helpers;
    for (uint64_t i = 1; i < useful; ++i) helpers.emplace_back([this] { work(); });
    work();
    for (std::thread& helper : helpers) helper.join();
    if (error_) return std::move(*error_);
    return builder_.finish();
  }

 private:
  void work() {
    // Not a vector: at 16 bytes past a page, where malloc puts what is large, the kernel copies at half
    // speed, and the lanes' loads cross cache lines.
    Result<Buffer> buffer = Buffer::allocate(kPieceSize);
    std::vector<uint8_t> digests;
    while (true) {
      const uint64_t index = next_.fetch_add(1);
      const uint64_t offset = index * kPieceSize;
      if (offset >= data_.size()) return;
      const auto length = static_cast<size_t>(std::min(kPieceSize, data_.size() - offset));
      Status hashed = buffer.ok() ? hash(offset, buffer.value().first(length), digests) : buffer.error();
      if (!append(index, std::move(hashed), digests)) return;
      job_.advance(length);
    }
  }

  Status hash(uint64_t offset, MutableBytes piece, std::vector<uint8_t>& digests) const {
    TRY(job_.check());
    TRY(data_.read_at(offset, piece));
    const uint64_t blocks = ceil_divide(piece.size(), parameters_.data_block_size);
    digests.resize(blocks * hash::digest_size(parameters_.algorithm));
    hash_leaves(parameters_, piece, digests.data());
    return ok();
  }

  // Waits until it is the piece's turn. The error of the first piece that has one ends all threads, so that
  // which error is reported does not depend on their speed.
  bool append(uint64_t index, Status hashed, Bytes digests) {
    std::unique_lock<std::mutex> lock(mutex_);
    turn_.wait(lock, [&] { return appended_ == index || error_; });
    if (error_) return false;
    if (hashed.ok()) hashed = builder_.append(digests);
    if (!hashed.ok()) error_ = hashed.error();
    ++appended_;
    turn_.notify_all();
    return hashed.ok();
  }

  const Parameters& parameters_;
  const ByteSource& data_;
  Job& job_;
  std::atomic<uint64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable turn_;
  // The rest is guarded by mutex_.
  TreeBuilder builder_;
  uint64_t appended_ = 0;
  std::optional<Error> error_;
};

}  // namespace

void hash_leaves(const Parameters& parameters, Bytes data, uint8_t* out) {
  const size_t block_size = parameters.data_block_size;
  const size_t whole = data.size() / block_size;
  hash::hash_many(parameters.algorithm, data.data(), block_size, whole, parameters.salt, out);
  const Bytes rest = data.subspan(whole * block_size);
  if (rest.empty()) return;
  std::vector<uint8_t> padded(rest.begin(), rest.end());
  padded.resize(block_size);
  hash::hash_many(parameters.algorithm, padded.data(), block_size, 1, parameters.salt,
                  out + whole * hash::digest_size(parameters.algorithm));
}

Result<Tree> build(const Parameters& parameters, const ByteSource& data, unsigned threads,
                   const std::string& temporary_directory, Job& job) {
  TRY(check(parameters));
  job.begin("verity", data.size());
  return ParallelBuild(parameters, data, temporary_directory, job).run(threads);
}

}  // namespace seekable::verity
