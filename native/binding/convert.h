// JavaScript values ↔ core values. Options were checked in TypeScript: here a wrong type is a programming
// error and throws. Every number is read before a buffer's pointer is taken.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "hash/sha2.h"
#include "verity/tree.h"

namespace seekable::binding {

Napi::Error to_js_error(Napi::Env env, const Error& error);
// The value of a Result, or a JavaScript exception.
template <typename T>
T value_or_throw(Napi::Env env, Result<T> result) {
  if (!result.ok()) throw to_js_error(env, result.error());
  return std::move(result.value());
}

uint64_t number_of(const Napi::Object& object, const char* key);
std::string string_of(const Napi::Object& object, const char* key);
Napi::Object object_of(const Napi::Object& object, const char* key);
bool is_null(const Napi::Object& object, const char* key);

// A view: valid while the JavaScript value is referenced.
Bytes view(const Napi::Value& typed_array);
MutableBytes writable_view(const Napi::Value& typed_array);
std::vector<uint8_t> copy(const Napi::Value& typed_array);
// From a Float64Array of whole numbers.
std::vector<uint64_t> numbers(const Napi::Value& typed_array);

Napi::Value to_js(Napi::Env env, Bytes bytes);
Napi::Value to_js(Napi::Env env, const std::vector<uint64_t>& numbers);
Napi::Value to_js(Napi::Env env, const std::vector<std::string>& lines);

verity::Parameters verity_parameters(const Napi::Object& object);

}  // namespace seekable::binding
