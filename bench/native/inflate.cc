// Inflating a gzip file with the core's own decoder, and the SHA-256 of what comes out, each alone. It is an
// addon because the core takes a function from Node itself: require(inflate.node)(path) gives CPU seconds,
// [inflating, hashing].
#include <node_api.h>
#include <time.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/io.h"
#include "hash/sha2.h"
#include "inflate/input.h"

namespace {

using namespace seekable;

double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

struct Seconds {
  double inflating = 0;
  double hashing = 0;
};

Status inflate_all(Bytes compressed, Seconds& seconds) {
  const MemorySource source(compressed);
  const auto inflater = TRY(inflate::Inflater::open(source, inflate::Compression::kGzip));
  hash::Sha256 digest;
  for (;;) {
    const double start = cpu_seconds();
    const Bytes piece = TRY(inflater->next());
    const double inflated = cpu_seconds();
    digest.update(piece);
    seconds.inflating += inflated - start;
    seconds.hashing += cpu_seconds() - inflated;
    if (piece.empty()) return ok();
  }
}

napi_value call(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  char path[4096];
  napi_get_value_string_utf8(env, argument, path, sizeof path, nullptr);
  std::ifstream file(path, std::ios::binary);
  const std::vector<uint8_t> compressed((std::istreambuf_iterator<char>(file)), {});
  Seconds seconds;
  const Status done = inflate_all(compressed, seconds);
  if (!done.ok()) napi_throw_error(env, nullptr, (path + (": " + done.error().why)).c_str());
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
