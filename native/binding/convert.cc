#include "binding/convert.h"

#include <algorithm>

namespace seekable::binding {

Napi::Error to_js_error(Napi::Env env, const Error& error) {
  Napi::Error js = Napi::Error::New(env, error.what + ": " + error.why);
  js.Set("code", Napi::String::New(env, code_name(error.code)));
  js.Set("what", Napi::String::New(env, error.what));
  js.Set("why", Napi::String::New(env, error.why));
  if (!error.hint.empty()) js.Set("hint", Napi::String::New(env, error.hint));
  if (error.error_number != 0) js.Set("errno", Napi::Number::New(env, error.error_number));
  return js;
}

uint64_t number_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsNumber()) throw Napi::TypeError::New(object.Env(), std::string(key) + " must be a number");
  return static_cast<uint64_t>(value.As<Napi::Number>().Int64Value());
}

std::string string_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsString()) throw Napi::TypeError::New(object.Env(), std::string(key) + " must be a string");
  return value.As<Napi::String>().Utf8Value();
}

Napi::Object object_of(const Napi::Object& object, const char* key) {
  const Napi::Value value = object.Get(key);
  if (!value.IsObject()) throw Napi::TypeError::New(object.Env(), std::string(key) + " must be an object");
  return value.As<Napi::Object>();
}

bool is_null(const Napi::Object& object, const char* key) { return object.Get(key).IsNull(); }

MutableBytes view(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw Napi::TypeError::New(value.Env(), "bytes must be a Uint8Array");
  }
  auto array = value.As<Napi::Uint8Array>();
  return MutableBytes(array.Data(), array.ByteLength());
}

std::vector<uint8_t> copy(const Napi::Value& value) {
  const Bytes bytes = view(value);
  return {bytes.begin(), bytes.end()};
}

std::vector<uint64_t> numbers(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array) {
    throw Napi::TypeError::New(value.Env(), "numbers must be a Float64Array");
  }
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<uint64_t> starts_of(const Napi::Object& options) {
  return is_null(options, "starts") ? std::vector<uint64_t>{} : numbers(options.Get("starts"));
}

Napi::Value to_js(Napi::Env env, Bytes bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), bytes.size());
}

Napi::Value to_js(Napi::Env env, Buffer bytes) {
  const size_t size = bytes.size();
  auto* owner = new Buffer(std::move(bytes));
  return Napi::Buffer<uint8_t>::NewOrCopy(
      env, owner->data(), size, [](Napi::Env, uint8_t*, Buffer* kept) { delete kept; }, owner);
}

Napi::Value to_js(Napi::Env env, const std::vector<uint64_t>& numbers) {
  auto array = Napi::Float64Array::New(env, numbers.size());
  std::copy(numbers.begin(), numbers.end(), array.Data());
  return array;
}

Napi::Value to_js(Napi::Env env, const std::vector<std::string>& lines) {
  auto array = Napi::Array::New(env, lines.size());
  for (uint32_t i = 0; i < lines.size(); ++i) array[i] = Napi::String::New(env, lines[i]);
  return array;
}

verity::Parameters verity_parameters(const Napi::Object& object) {
  const bool sha256 = string_of(object, "algorithm") == "sha256";
  return {.algorithm = sha256 ? hash::Algorithm::kSha256 : hash::Algorithm::kSha512,
          .data_block_size = static_cast<uint32_t>(number_of(object, "dataBlockSize")),
          .hash_block_size = static_cast<uint32_t>(number_of(object, "hashBlockSize")),
          .salt = copy(object.Get("salt"))};
}

}  // namespace seekable::binding
