// The addon's functions, one file each; their JavaScript signatures are in src/native/binding.ts.
#pragma once

#include <napi.h>

namespace seekable::binding {

Napi::Value open_input(const Napi::CallbackInfo& info);
Napi::Value plan_image(const Napi::CallbackInfo& info);
Napi::Value write_source(const Napi::CallbackInfo& info);
Napi::Value hash_source(const Napi::CallbackInfo& info);
Napi::Value encode_image(const Napi::CallbackInfo& info);
Napi::Value store_image(const Napi::CallbackInfo& info);
Napi::Value concatenate(const Napi::CallbackInfo& info);
Napi::Value decode_image(const Napi::CallbackInfo& info);
Napi::Value decode_frame(const Napi::CallbackInfo& info);
Napi::Value place_frame(const Napi::CallbackInfo& info);
Napi::Value inflate_frame(const Napi::CallbackInfo& info);
Napi::Value read_frame(const Napi::CallbackInfo& info);
Napi::Value decoded_source(const Napi::CallbackInfo& info);
Napi::Value decompress_zstd(const Napi::CallbackInfo& info);
Napi::Value verity_tree(const Napi::CallbackInfo& info);
Napi::Value compare_bytes(const Napi::CallbackInfo& info);
Napi::Value uuid5(const Napi::CallbackInfo& info);
Napi::Value try_lock(const Napi::CallbackInfo& info);
Napi::Value features(const Napi::CallbackInfo& info);
Napi::Object system_calls(Napi::Env env);
Napi::Object files(Napi::Env env);

}  // namespace seekable::binding
