// concatenate, storeImage.
#include "binding/blob_sink.h"
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"
#include "layer/concat_source.h"
#include "layer/store_image.h"

namespace seekable::binding {

namespace {

class OwnedBytes final : public ByteSource {
 public:
  explicit OwnedBytes(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)), source_(bytes_) {}
  uint64_t size() const override { return source_.size(); }
  Status read_at(uint64_t offset, MutableBytes out) const override { return source_.read_at(offset, out); }

 private:
  std::vector<uint8_t> bytes_;
  MemorySource source_;
};

}  // namespace

Napi::Value concatenate(const Napi::CallbackInfo& info) {
  const auto array = info[0].As<Napi::Array>();
  std::vector<std::shared_ptr<const ByteSource>> parts;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value part = array.Get(i);
    if (part.IsTypedArray()) {
      parts.push_back(std::make_shared<OwnedBytes>(copy(part)));
    } else {
      parts.push_back(SourceHandle::of(part));
    }
  }
  return SourceHandle::wrap(info.Env(), std::make_shared<layer::ConcatSource>(std::move(parts)));
}

Napi::Value store_image(const Napi::CallbackInfo& info) {
  const auto options = info[2].As<Napi::Object>();
  return run_async<layer::StoredImage>(
      info.Env(), JobHandle::of(info[3]),
      [image = SourceHandle::of(info[0]), sink = BlobSinkHandle::of(info[1]),
       options = layer::StoreOptions{.chunk_size = static_cast<uint32_t>(number_of(options, "chunkSize")),
                                     .starts = starts_of(options),
                                     .threads = static_cast<unsigned>(number_of(options, "threads"))}](
          Job& job) { return layer::store_image(*image, *sink, options, job); },
      [](Napi::Env env, layer::StoredImage& stored) {
        auto result = Napi::Object::New(env);
        result.Set("diffId", to_js(env, stored.diff_id));
        result.Set("offsets", to_js(env, stored.offsets));
        result.Set("checksums", to_js(env, stored.checksums));
        return result;
      });
}

}  // namespace seekable::binding
