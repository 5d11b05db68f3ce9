// What zlib makes of a stream: the measure of our own inflater.
#pragma once

#include <zlib.h>

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/io.h"
#include "inflate/deflate.h"

namespace seekable::test {

struct Inflated {
  std::string bytes;
  bool complete = false;  // up to the end of the stream; if not it was refused, or longer than was asked for
  bool refused = false;
  size_t used = 0;  // bytes of the input, of a complete one
};

constexpr int kRaw = -15;
constexpr int kGzip = 16 + 15;

// One raw stream, or one gzip member.
inline Inflated by_zlib(Bytes input, int window_bits, size_t enough = SIZE_MAX) {
  Inflated result;
  std::vector<uint8_t> out(65536);
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) std::abort();
  stream.next_in = const_cast<uint8_t*>(input.data());
  stream.avail_in = static_cast<uInt>(input.size());
  int status = Z_OK;
  while (status == Z_OK && result.bytes.size() < enough) {
    stream.next_out = out.data();
    stream.avail_out = static_cast<uInt>(out.size());
    status = ::inflate(&stream, Z_NO_FLUSH);
    result.bytes.append(reinterpret_cast<char*>(out.data()), out.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  result.complete = status == Z_STREAM_END;
  result.refused = status != Z_STREAM_END && status != Z_OK;
  result.used = input.size() - stream.avail_in;
  return result;
}

// One raw stream, by our own decoder. `block`: how much is read at once.
inline Inflated by_us(Bytes input, size_t block = inflate::Feed::kBlock, size_t enough = SIZE_MAX,
                      bool portable = false) {
  using Stop = inflate::DeflateDecoder::Stop;
  Inflated result;
  const MemorySource source(input);
  auto feed = inflate::Feed::open(source, {}, block);
  auto window = inflate::Window::allocate();
  if (!feed.ok() || !window.ok()) std::abort();
  inflate::DeflateDecoder decoder(portable);
  decoder.begin(window.value());
  Stop stop = Stop::kWindowFull;
  while (stop == Stop::kWindowFull && result.bytes.size() < enough) {
    const auto run = decoder.run(feed.value(), window.value());
    if (!run.ok()) std::abort();
    stop = run.value();
    result.bytes += as_text(window.value().fresh());
    window.value().turn_over();
  }
  result.complete = stop == Stop::kStreamEnd;
  result.refused = stop == Stop::kFault;
  result.used = static_cast<size_t>(feed.value().offset());
  return result;
}

}  // namespace seekable::test
