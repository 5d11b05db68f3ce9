// uuid5, tryLock, features.
#include <openssl/crypto.h>

#include "binding/convert.h"
#include "binding/exports.h"
#include "hash/sha1.h"
#include "hash/sha2.h"
#include "sys/linux.h"
#include "zstd/frame.h"

// Not every program that loads Node's addons offers Node's OpenSSL.
#pragma weak OpenSSL_version

namespace seekable::binding {

Napi::Value uuid5(const Napi::CallbackInfo& info) {
  return to_js(info.Env(), hash::uuid5_url(info[0].As<Napi::String>().Utf8Value()));
}

Napi::Value try_lock(const Napi::CallbackInfo& info) {
  const bool taken = value_or_throw(info.Env(), sys::try_lock(info[0].As<Napi::Number>().Int32Value()));
  return Napi::Boolean::New(info.Env(), taken);
}

Napi::Value features(const Napi::CallbackInfo& info) {
  const hash::Level level = hash::level();
  auto result = Napi::Object::New(info.Env());
  result.Set("sha512Many", level.sha512_many);
  result.Set("sha256Many", level.sha256_many);
  result.Set("sha256Stream", level.sha256_stream);
  result.Set("zstd", zstd::library_version());
  result.Set("openssl", OpenSSL_version == nullptr ? "none" : OpenSSL_version(OPENSSL_VERSION));
  return result;
}

}  // namespace seekable::binding
