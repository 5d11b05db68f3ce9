#include "inflate/gzip_inflater.h"

#include <zlib.h>

#include <algorithm>
#include <string>
#include <utility>

#include "inflate/feed.h"

namespace seekable::inflate {

namespace {

constexpr int kGzipOnly = 16 + 15;                  // zlib's windowBits: gzip framing, window of 32 KiB
constexpr size_t kLargestOutput = size_t{1} << 30;  // zlib counts in 32 bits

Error broken(const Feed& feed, const std::string& fault) {
  return corrupt("gzip stream", fault + " (at about " + feed.place() + ")");
}

class GzipInflater final : public Inflater {
 public:
  GzipInflater(const ByteSource& source, OnInput on_input) : feed_(source, std::move(on_input)) {}
  ~GzipInflater() override {
    if (started_) inflateEnd(&stream_);
  }

  Status start() {
    started_ = inflateInit2(&stream_, kGzipOnly) == Z_OK;
    if (!started_) return Error{ErrorCode::kNoMemory, "gzip stream", "no memory to decompress it", {}};
    return ok();
  }

  Result<size_t> read(MutableBytes out) override {
    size_t filled = 0;
    while (filled < out.size() && !ended_) filled += TRY(step(out.subspan(filled)));
    return filled;
  }

 private:
  // One call of zlib; returns how many bytes it put into `out`.
  Result<size_t> step(MutableBytes out) {
    const Bytes in = TRY(feed_.peek());
    const size_t room = std::min(out.size(), kLargestOutput);
    stream_.next_in = const_cast<Bytef*>(in.data());
    stream_.avail_in = static_cast<uInt>(in.size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(room);
    const int outcome = ::inflate(&stream_, Z_NO_FLUSH);
    feed_.consume(in.size() - stream_.avail_in);
    const size_t produced = room - stream_.avail_out;
    if (outcome == Z_STREAM_END) {
      TRY(end_member());
      return produced;
    }
    if (outcome == Z_MEM_ERROR) {
      return Error{ErrorCode::kNoMemory, "gzip stream", "no memory to decompress it", {}};
    }
    if (outcome != Z_OK && outcome != Z_BUF_ERROR) return broken(feed_, fault_of_data());
    if (produced == 0 && in.empty()) return broken(feed_, "it is cut short");
    return produced;
  }

  std::string fault_of_data() const {
    const std::string fault = stream_.msg == nullptr ? "it is damaged" : stream_.msg;
    return members_ == 0 ? fault : "after member " + std::to_string(members_) + ": " + fault;
  }

  // Another member may follow, or zero bytes up to the end of the source (tapes and some tools pad so).
  Status end_member() {
    ++members_;
    const Bytes next = TRY(feed_.peek());
    if (!next.empty() && next.front() != 0) {
      inflateReset(&stream_);
      return ok();
    }
    ended_ = true;
    for (Bytes padding = next; !padding.empty(); padding = TRY(feed_.peek())) {
      if (std::ranges::any_of(padding, [](uint8_t byte) { return byte != 0; })) {
        return broken(feed_, "something else follows its end and zero bytes");
      }
      feed_.consume(padding.size());
    }
    return ok();
  }

  Feed feed_;
  z_stream stream_{};
  bool started_ = false;
  bool ended_ = false;
  uint64_t members_ = 0;
};

}  // namespace

Result<std::unique_ptr<Inflater>> open_gzip(const ByteSource& source, Inflater::OnInput on_input) {
  auto inflater = std::make_unique<GzipInflater>(source, std::move(on_input));
  TRY(inflater->start());
  return std::unique_ptr<Inflater>(std::move(inflater));
}

}  // namespace seekable::inflate
