// Everything that JavaScript sees of the addon.
#include <napi.h>

#include "binding/arrival.h"
#include "binding/blob_sink.h"
#include "binding/environment.h"
#include "binding/exports.h"
#include "binding/fuse_server.h"
#include "binding/job.h"
#include "binding/source.h"
#include "binding/tar_reader.h"
#include "binding/tree_writer.h"

namespace seekable::binding {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  Environment::install(env);
  Environment& environment = Environment::of(env);

  const auto add_class = [&](const char* name, Napi::Function constructor,
                             Napi::FunctionReference& reference) {
    reference = Napi::Persistent(constructor);
    exports.Set(name, constructor);
  };
  add_class("Job", JobHandle::define(env), environment.job);
  add_class("Source", SourceHandle::define(env), environment.source);
  add_class("BlobSink", BlobSinkHandle::define(env), environment.blob_sink);
  exports.Set("Arrival", ArrivalHandle::define(env));
  exports.Set("TreeWriter", TreeWriterHandle::define(env));
  exports.Set("TarReader", TarReaderHandle::define(env));
  exports.Set("FuseServer", FuseServerHandle::define(env));

  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("openInput", open_input);
  add("planImage", plan_image);
  add("writeSource", write_source);
  add("hashSource", hash_source);
  add("encodeImage", encode_image);
  add("storeImage", store_image);
  add("concatenate", concatenate);
  add("decodeImage", decode_image);
  add("decodeFrame", decode_frame);
  add("placeFrame", place_frame);
  add("inflateFrame", inflate_frame);
  add("readFrame", read_frame);
  add("decodedSource", decoded_source);
  add("decompressZstd", decompress_zstd);
  add("verityTree", verity_tree);
  add("compareBytes", compare_bytes);
  add("uuid5", uuid5);
  add("tryLock", try_lock);
  add("features", features);
  exports.Set("sys", system_calls(env));
  exports.Set("files", files(env));
  return exports;
}

NODE_API_MODULE(seekable_erofs, initialise)

}  // namespace seekable::binding
