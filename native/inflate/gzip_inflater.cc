#include "inflate/gzip_inflater.h"

#include <algorithm>
#include <string>
#include <utility>

#include "inflate/crc32.h"
#include "inflate/deflate.h"
#include "inflate/feed.h"
#include "inflate/window.h"

namespace seekable::inflate {

namespace {

// RFC 1952, 2.3: ten bytes, then what the flags say, deflated data, and two checksums.
constexpr size_t kHeaderSize = 10;
constexpr size_t kTrailerSize = 8;
constexpr uint16_t kMagic = 0x8b1f;
constexpr uint8_t kDeflated = 8;
constexpr uint8_t kHasHeaderCrc = 1 << 1;
constexpr uint8_t kHasExtra = 1 << 2;
constexpr uint8_t kHasName = 1 << 3;
constexpr uint8_t kHasComment = 1 << 4;
constexpr uint8_t kReserved = 0xe0;

class GzipInflater final : public Inflater {
 public:
  GzipInflater(Feed feed, Window window) : feed_(std::move(feed)), window_(std::move(window)) {}

  Result<Bytes> next() override {
    window_.turn_over();
    while (!ended_ && !window_.full()) {
      if (!inside_member_) TRY(begin_member());
      TRY(decode());
    }
    return window_.fresh();
  }

 private:
  Error broken(const std::string& fault) const {
    const std::string after = members_ == 0 ? "" : "after member " + std::to_string(members_) + ": ";
    return corrupt("gzip stream", after + fault + " (at about " + feed_.place() + ")");
  }
  Error cut_short() const { return broken("it is cut short"); }

  Status begin_member() {
    TRY(read_header());
    decoder_.begin(window_);
    inside_member_ = true;
    crc_ = 0;
    size_ = 0;
    return ok();
  }

  Status read_header() {
    const Bytes header = TRY(feed_.peek(kHeaderSize));
    if (header.size() >= 2 && load_le<uint16_t>(header.data()) != kMagic) {
      return broken("incorrect header check");
    }
    if (header.size() < kHeaderSize) return cut_short();
    const uint8_t flags = header[3];
    if (header[2] != kDeflated) return broken("unknown compression method");
    if ((flags & kReserved) != 0) return broken("unknown header flags set");
    crc_ = 0;
    TRY(skip(kHeaderSize));
    if ((flags & kHasExtra) != 0) TRY(skip(TRY(read_16())));
    if ((flags & kHasName) != 0) TRY(skip_text());
    if ((flags & kHasComment) != 0) TRY(skip_text());
    if ((flags & kHasHeaderCrc) != 0) {
      const uint32_t crc = crc_;
      if (TRY(read_16()) != (crc & 0xffff)) return broken("header crc mismatch");
    }
    return ok();
  }

  // Of a header, whose checksum they count into.
  Status skip(size_t count) {
    while (count > 0) {
      const Bytes input = TRY(feed_.peek());
      if (input.empty()) return cut_short();
      const Bytes skipped = input.first(std::min(count, input.size()));
      crc_ = crc32(crc_, skipped);
      feed_.consume(skipped.size());
      count -= skipped.size();
    }
    return ok();
  }

  Result<uint16_t> read_16() {
    const Bytes input = TRY(feed_.peek(2));
    if (input.size() < 2) return cut_short();
    const auto value = load_le<uint16_t>(input.data());
    TRY(skip(2));
    return value;
  }

  // Up to a zero byte and with it.
  Status skip_text() {
    for (;;) {
      const Bytes input = TRY(feed_.peek());
      if (input.empty()) return cut_short();
      const auto zero = std::ranges::find(input, 0);
      const auto length = static_cast<size_t>(zero - input.begin());
      if (zero != input.end()) return skip(length + 1);
      TRY(skip(length));
    }
  }

  Status decode() {
    const size_t before = window_.fresh().size();
    const DeflateDecoder::Stop stop = TRY(decoder_.run(feed_, window_));
    const Bytes decoded = window_.fresh().subspan(before);
    crc_ = crc32(crc_, decoded);
    size_ += static_cast<uint32_t>(decoded.size());
    switch (stop) {
      case DeflateDecoder::Stop::kWindowFull: return ok();
      case DeflateDecoder::Stop::kStreamEnd: return end_member();
      case DeflateDecoder::Stop::kFault: break;
    }
    return broken(decoder_.fault());
  }

  // Another member may follow, or zero bytes up to the end of the source (tapes and some tools pad so).
  Status end_member() {
    const Bytes trailer = TRY(feed_.peek(kTrailerSize));
    if (trailer.size() < kTrailerSize) return cut_short();
    if (load_le<uint32_t>(trailer.data()) != crc_) return broken("incorrect data check");
    if (load_le<uint32_t>(trailer.data() + 4) != size_) return broken("incorrect length check");
    feed_.consume(kTrailerSize);
    inside_member_ = false;
    ++members_;
    const Bytes next = TRY(feed_.peek());
    if (!next.empty() && next.front() != 0) return ok();
    ended_ = true;
    for (Bytes padding = next; !padding.empty(); padding = TRY(feed_.peek())) {
      if (std::ranges::any_of(padding, [](uint8_t byte) { return byte != 0; })) {
        return broken("something else follows its end and zero bytes");
      }
      feed_.consume(padding.size());
    }
    return ok();
  }

  Feed feed_;
  Window window_;
  DeflateDecoder decoder_;
  bool inside_member_ = false;
  bool ended_ = false;
  uint64_t members_ = 0;
  uint32_t crc_ = 0;   // of the header, then of what the member decoded to
  uint32_t size_ = 0;  // of that, modulo 2^32 as the trailer has it
};

}  // namespace

Result<std::unique_ptr<Inflater>> open_gzip(const ByteSource& source, Inflater::OnInput on_input,
                                            size_t block) {
  Feed feed = TRY(Feed::open(source, std::move(on_input), block));
  Window window = TRY(Window::allocate());
  return std::unique_ptr<Inflater>(std::make_unique<GzipInflater>(std::move(feed), std::move(window)));
}

}  // namespace seekable::inflate
