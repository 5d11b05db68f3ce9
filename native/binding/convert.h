// JavaScript values ↔ core values. Options were checked in TypeScript: here a wrong type is a programming
// error and throws.
//
// JavaScript's memory is touched on JavaScript's thread only, and not across anything that may run JavaScript
// (a getter of an options object): a buffer can be resized, transferred or detached at any other time, and
// what a pointer led to is gone then. So work on other threads gets copies, and gives memory of its own.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/buffer.h"
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

// A view: valid until JavaScript runs again.
MutableBytes view(const Napi::Value& typed_array);
std::vector<uint8_t> copy(const Napi::Value& typed_array);
// Where chunks begin, from `starts`: a Float64Array, or null for equal ones.
std::vector<uint64_t> starts_of(const Napi::Object& options);
// From a Float64Array of whole numbers.
std::vector<uint64_t> numbers(const Napi::Value& typed_array);

Napi::Value to_js(Napi::Env env, Bytes bytes);
// Without a copy: the memory is JavaScript's from then on.
Napi::Value to_js(Napi::Env env, Buffer bytes);
Napi::Value to_js(Napi::Env env, const std::vector<uint64_t>& numbers);
Napi::Value to_js(Napi::Env env, const std::vector<std::string>& lines);

verity::Parameters verity_parameters(const Napi::Object& object);

}  // namespace seekable::binding
