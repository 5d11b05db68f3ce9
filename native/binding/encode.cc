// encodeImage.
#include "binding/blob_sink.h"
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"
#include "binding/tree.h"
#include "layer/encode_image.h"

namespace seekable::binding {

namespace {

layer::EncodeOptions encode_options(const Napi::Object& options) {
  layer::EncodeOptions result{.chunk_size = static_cast<uint32_t>(number_of(options, "chunkSize")),
                              .starts = starts_of(options),
                              .level = static_cast<int>(number_of(options, "level")),
                              .threads = static_cast<unsigned>(number_of(options, "threads")),
                              .verity = std::nullopt,
                              .temporary_directory = string_of(options, "tmpDir")};
  if (!is_null(options, "verity")) result.verity = verity_parameters(object_of(options, "verity"));
  return result;
}

Napi::Value encoded_image(Napi::Env env, layer::EncodedImage& encoded) {
  auto result = Napi::Object::New(env);
  result.Set("diffId", to_js(env, encoded.diff_id));
  result.Set("offsets", to_js(env, encoded.offsets));
  result.Set("checksums", to_js(env, encoded.checksums));
  result.Set("verity", encoded.tree ? tree_to_js(env, std::move(*encoded.tree)) : env.Null());
  return result;
}

}  // namespace

Napi::Value encode_image(const Napi::CallbackInfo& info) {
  return run_async<layer::EncodedImage>(
      info.Env(), JobHandle::of(info[3]),
      [image = SourceHandle::of(info[0]), sink = BlobSinkHandle::of(info[1]),
       options = encode_options(info[2].As<Napi::Object>())](Job& job) {
        return layer::encode_image(*image, *sink, options, job);
      },
      encoded_image);
}

}  // namespace seekable::binding
