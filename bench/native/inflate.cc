// Inflating a gzip file with the zlib that is in Node, which is what the package does, and the SHA-256 of
// what comes out, each alone. It is an addon because only Node has that zlib: require(inflate.node)(path)
// gives CPU seconds, [inflating, hashing].
#include <node_api.h>
#include <time.h>
#include <zlib.h>

#include <cstdio>
#include <string>
#include <vector>

#include "hash/sha2.h"

namespace {

constexpr size_t kPiece = 1 << 20;

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

struct Seconds {
  double inflating = 0;
  double hashing = 0;
};

// False for anything but one gzip member after the other.
bool inflate_file(FILE* file, Seconds& seconds) {
  std::vector<uint8_t> in(kPiece), out(kPiece);
  seekable::hash::Sha256 digest;
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return false;
  int status = Z_OK;
  while ((stream.avail_in = static_cast<uInt>(fread(in.data(), 1, kPiece, file))) > 0) {
    stream.next_in = in.data();
    while (stream.avail_in > 0 || stream.avail_out == 0) {
      if (status == Z_STREAM_END) inflateReset(&stream);
      stream.next_out = out.data();
      stream.avail_out = kPiece;
      const double start = cpu_seconds();
      status = inflate(&stream, Z_NO_FLUSH);
      const double inflated = cpu_seconds();
      seconds.inflating += inflated - start;
      if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) break;
      digest.update(seekable::Bytes(out.data(), kPiece - stream.avail_out));
      seconds.hashing += cpu_seconds() - inflated;
      if (status == Z_BUF_ERROR || (status == Z_STREAM_END && stream.avail_in == 0)) break;
    }
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END;
}

napi_value call(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  char path[4096];
  napi_get_value_string_utf8(env, argument, path, sizeof path, nullptr);
  FILE* file = fopen(path, "rb");
  Seconds seconds;
  const bool done = file != nullptr && inflate_file(file, seconds);
  if (file != nullptr) fclose(file);
  if (!done) napi_throw_error(env, nullptr, (std::string(path) + ": no gzip file").c_str());
  napi_value result, value;
  napi_create_array_with_length(env, 2, &result);
  napi_create_double(env, seconds.inflating, &value);
  napi_set_element(env, result, 0, value);
  napi_create_double(env, seconds.hashing, &value);
  napi_set_element(env, result, 1, value);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "inflate", NAPI_AUTO_LENGTH, call, nullptr, &function);
  (void)exports;
  return function;
}
