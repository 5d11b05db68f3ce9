#include "layer/open_input.h"

#include <algorithm>
#include <array>
#include <vector>

#include "layer/inflated_bytes.h"

namespace seekable::layer {

namespace {

Result<inflate::Compression> detect(const ByteSource& source) {
  std::array<uint8_t, 4> magic{};
  const MutableBytes first = MutableBytes(magic).first(std::min<uint64_t>(magic.size(), source.size()));
  TRY(source.read_at(0, first));
  return inflate::detect(first);
}

// SHA-256 of what goes into an inflater and of what comes out, in step: the shorter one is nearly free so.
class Hashes {
 public:
  void take_input(Bytes block) {
    if (waiting_.size() + block.size() > kMaxWaiting) drain({});
    waiting_.insert(waiting_.end(), block.begin(), block.end());
  }
  void take_content(Bytes piece) { drain(piece); }

  hash::Sha256Digest input() {
    drain({});
    return input_.finish();
  }
  hash::Sha256Digest content() { return content_.finish(); }

 private:
  static constexpr size_t kMaxWaiting = 1 << 20;

  void drain(Bytes piece) {
    hash::Sha256::update_both(input_, waiting_, content_, piece);
    waiting_.clear();
  }

  hash::Sha256 input_, content_;
  std::vector<uint8_t> waiting_;  // input that is not hashed yet
};

}  // namespace

Result<OpenedInput> open_input(std::shared_ptr<const ByteSource> source,
                               const std::string& temporary_directory, Job& job) {
  const inflate::Compression compression = TRY(detect(*source));
  if (compression == inflate::Compression::kNone) return OpenedInput{std::move(source), compression, {}, {}};

  job.begin("inflate", source->size());
  Hashes hashes;
  const auto inflater = TRY(inflate::Inflater::open(*source, compression, [&](Bytes input) {
    hashes.take_input(input);
    job.advance(input.size());
  }));
  InflatedBytes content(source->size(), temporary_directory);
  for (;;) {
    TRY(job.check());
    const Bytes piece = TRY(inflater->next());
    if (piece.empty()) break;
    hashes.take_content(piece);
    TRY(content.append(piece));
  }
  return OpenedInput{content.finish(), compression, hashes.input(), hashes.content()};
}

}  // namespace seekable::layer
