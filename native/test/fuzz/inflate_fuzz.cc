// The inflaters on anything: no crash, each byte of the input shown exactly once, and what zlib makes of it.
#include <algorithm>
#include <cstdlib>
#include <string>

#include "inflate/feed.h"
#include "inflate/gzip_inflater.h"
#include "inflate/input.h"
#include "test/zlib_oracle.h"

namespace {

using namespace seekable;

constexpr size_t kEnough = size_t{16} << 20;  // a bomb need not be followed to its end

using test::Inflated;

Inflated run(inflate::Inflater& inflater) {
  Inflated outcome;
  while (outcome.bytes.size() < kEnough) {
    const Result<Bytes> piece = inflater.next();
    if (!piece.ok()) {
      const ErrorCode code = piece.error().code;
      if (code != ErrorCode::kCorrupt && code != ErrorCode::kUnsupported) std::abort();
      outcome.refused = true;
      return outcome;
    }
    if (piece.value().empty()) {
      outcome.complete = true;
      return outcome;
    }
    outcome.bytes += as_text(piece.value());
  }
  return outcome;
}

// One member after the other, then zero bytes or nothing.
Inflated members_by_zlib(Bytes input) {
  Inflated all;
  do {
    const Inflated member = test::by_zlib(input, test::kGzip, kEnough - all.bytes.size());
    all.bytes += member.bytes;
    all.refused = member.refused;
    if (!member.complete || all.bytes.size() >= kEnough) return all;
    input = input.subspan(member.used);
  } while (!input.empty() && input.front() != 0);
  all.complete = as_text(input).find_first_not_of('\0') == std::string_view::npos;
  all.refused = !all.complete;
  return all;
}

void compare(const Inflated& ours, const Inflated& theirs) {
  // One of them may have stopped before the fault, or the end.
  if (ours.bytes.size() > kEnough / 2 || theirs.bytes.size() > kEnough / 2) return;
  if (ours.complete != theirs.complete || ours.refused != theirs.refused) std::abort();
  if (ours.complete && ours.bytes != theirs.bytes) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemorySource source({data, size});
  const inflate::Compression compression = inflate::detect({data, size});
  if (compression == inflate::Compression::kNone) return 0;
  size_t seen = 0;
  const auto see = [&](Bytes bytes) { seen += bytes.size(); };
  const size_t block = size % 7 == 0 ? 1 + size % 61 : inflate::Feed::kBlock;  // odd blocks too
  auto inflater = compression == inflate::Compression::kGzip
                      ? inflate::open_gzip(source, see, block)
                      : inflate::Inflater::open(source, compression, see);
  if (!inflater.ok()) std::abort();
  const Inflated ours = run(*inflater.value());
  if (ours.complete && seen != size) std::abort();
  if (compression != inflate::Compression::kGzip) return 0;
  compare(ours, members_by_zlib({data, size}));
  // Without the framing, whose checksums nearly always fail.
  const Bytes raw = Bytes(data, size).subspan(std::min<size_t>(size, 10));
  compare(test::by_us(raw, block, kEnough), test::by_zlib(raw, test::kRaw, kEnough));
  return 0;
}
