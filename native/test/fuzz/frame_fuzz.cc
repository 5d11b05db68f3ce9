// The frame decoder on anything, into room of any size: it fills the room or says why not, writes nowhere
// else, and takes no harm for the frames to come.
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include <algorithm>
#include <vector>

#include "test/fuzz/require.h"
#include "zstd/frame.h"

namespace seekable {
namespace {

using fuzz::require;
using fuzz::require_clean;

constexpr size_t kMaxRoom = size_t{256} << 10;

const std::vector<uint8_t>& good_chunk() {
  static const std::vector<uint8_t> chunk = [] {
    std::vector<uint8_t> bytes(5000);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * i >> i % 7);
    return bytes;
  }();
  return chunk;
}

const std::vector<uint8_t>& good_frame() {
  static const std::vector<uint8_t> frame = [] {
    std::vector<uint8_t> bytes(zstd::frame_bound(good_chunk().size()));
    auto encoder = zstd::FrameEncoder::create(3, good_chunk().size());
    bytes.resize(encoder.value().encode(good_chunk(), bytes, Job()).value());
    return bytes;
  }();
  return frame;
}

void decode(zstd::FrameDecoder& decoder, Bytes frame, size_t room) {
  std::vector<uint8_t> out(room);  // on the heap, so that the sanitizer sees what goes beyond
  const Status status = decoder.decode(frame, out, "frame");
  if (!status.ok()) return require_clean(status.error());
  require(ZSTD_findFrameCompressedSize(frame.data(), frame.size()) == frame.size());
  const unsigned long long claimed = ZSTD_getFrameContentSize(frame.data(), frame.size());
  require(claimed == room || claimed == ZSTD_CONTENTSIZE_UNKNOWN);
}

}  // namespace
}  // namespace seekable

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seekable;
  static zstd::FrameDecoder decoder = std::move(zstd::FrameDecoder::create().value());
  const Bytes frame(data, size);
  const unsigned long long claimed = ZSTD_getFrameContentSize(data, size);
  const size_t wanted = static_cast<size_t>(std::min<unsigned long long>(claimed, kMaxRoom));
  for (const size_t room : {wanted, wanted + 1, wanted / 2, size_t{0}}) decode(decoder, frame, room);

  std::vector<uint8_t> out(good_chunk().size());
  require(decoder.decode(good_frame(), out, "good frame").ok() && out == good_chunk());
  return 0;
}
