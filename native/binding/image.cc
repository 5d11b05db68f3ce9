// openInput, planImage, writeSource, hashSource.
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"
#include "layer/build_image.h"
#include "layer/copy.h"
#include "layer/open_input.h"

namespace seekable::binding {

namespace {

const char* name_of(inflate::Compression compression) {
  switch (compression) {
    case inflate::Compression::kGzip: return "gzip";
    case inflate::Compression::kZstd: return "zstd";
    case inflate::Compression::kNone: break;
  }
  return "none";
}

// From {paths: Buffer[], ranges: Float64Array[]}: a list of offsets and lengths for each path.
std::vector<erofs::HotFile> hot_files_of(const Napi::Object& options) {
  std::vector<erofs::HotFile> files;
  const auto paths = options.Get("hotPaths").As<Napi::Array>();
  const auto ranges = options.Get("hotRanges").As<Napi::Array>();
  for (uint32_t i = 0; i < paths.Length(); ++i) {
    const std::vector<uint8_t> path = copy(paths.Get(i));
    erofs::HotFile& file = files.emplace_back(erofs::HotFile{{path.begin(), path.end()}, {}});
    const std::vector<uint64_t> bounds = numbers(ranges.Get(i));
    for (size_t at = 0; at + 1 < bounds.size(); at += 2) file.ranges.push_back({bounds[at], bounds[at + 1]});
  }
  return files;
}

// {deviceTag: string | null}: the tar is that device.
std::optional<erofs::DataDevice> device_of(const Napi::Object& options, const ByteSource& tar) {
  if (!options.Get("deviceTag").IsString()) return std::nullopt;
  return erofs::DataDevice{string_of(options, "deviceTag"), tar.size()};
}

Napi::Value digest_or_null(Napi::Env env, const std::optional<hash::Sha256Digest>& digest) {
  return digest ? to_js(env, *digest) : env.Null();
}

}  // namespace

Napi::Value open_input(const Napi::CallbackInfo& info) {
  return run_async<layer::OpenedInput>(
      info.Env(), JobHandle::of(info[2]),
      [source = SourceHandle::of(info[0]), directory = string_of(info[1].As<Napi::Object>(), "tmpDir")](
          Job& job) { return layer::open_input(source, directory, job); },
      [](Napi::Env env, layer::OpenedInput& input) {
        auto result = Napi::Object::New(env);
        result.Set("source", SourceHandle::wrap(env, input.content));
        result.Set("compression", name_of(input.compression));
        result.Set("sourceDigest", digest_or_null(env, input.source_digest));
        result.Set("contentDigest", digest_or_null(env, input.content_digest));
        return result;
      });
}

Napi::Value plan_image(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  return run_async<layer::BuiltImage>(
      info.Env(), JobHandle::of(info[2]),
      [tar = SourceHandle::of(info[0]),
       plan = erofs::PlanOptions{.block_size = static_cast<uint32_t>(number_of(options, "blockSize")),
                                 .hot = hot_files_of(options),
                                 .hot_border = number_of(options, "hotBorder"),
                                 .device = device_of(options, *SourceHandle::of(info[0]))},
       list_files = options.Get("listFiles").ToBoolean().Value(),
       tree = layer::TreeOptions{.bottom_layer = options.Get("bottomLayer").ToBoolean().Value(),
                                 .threads = static_cast<unsigned>(number_of(options, "threads")),
                                 .temporary_directory = string_of(options, "tmpDir")}](Job& job) {
        return layer::build_image(tar, tree, plan, job, list_files);
      },
      [](Napi::Env env, layer::BuiltImage& built) {
        auto result = Napi::Object::New(env);
        result.Set("source", SourceHandle::wrap(env, built.image));
        result.Set("inodes", static_cast<double>(built.summary.inodes));
        result.Set("metadataSize", static_cast<double>(built.summary.metadata_size));
        result.Set("epoch", static_cast<double>(built.summary.epoch));
        result.Set("hotEnd", static_cast<double>(built.summary.hot_end));
        auto found = Napi::Array::New(env, built.summary.hot_found.size());
        for (uint32_t i = 0; i < built.summary.hot_found.size(); ++i)
          found.Set(i, built.summary.hot_found[i]);
        result.Set("hotFound", found);
        result.Set("hasDevice", built.summary.has_device);
        result.Set("warnings", to_js(env, built.warnings));
        result.Set("filePieces", to_js(env, built.file_pieces));
        return result;
      });
}

Napi::Value write_source(const Napi::CallbackInfo& info) {
  const auto target = info[1].As<Napi::Object>();
  const auto threads = static_cast<unsigned>(number_of(info[2].As<Napi::Object>(), "threads"));
  auto file = std::make_shared<File>(value_or_throw(
      info.Env(), File::duplicate(static_cast<int>(number_of(target, "fd")), string_of(target, "name"))));
  return run_async<hash::Sha256Digest>(
      info.Env(), JobHandle::of(info[3]),
      [source = SourceHandle::of(info[0]), file, offset = number_of(target, "offset"), threads](Job& job) {
        return layer::write_source(*source, *file, offset, threads, job);
      },
      [](Napi::Env env, hash::Sha256Digest& digest) { return to_js(env, digest); });
}

Napi::Value hash_source(const Napi::CallbackInfo& info) {
  return run_async<hash::Sha256Digest>(
      info.Env(), JobHandle::of(info[1]),
      [source = SourceHandle::of(info[0])](Job& job) { return layer::hash_source(*source, job); },
      [](Napi::Env env, hash::Sha256Digest& digest) { return to_js(env, digest); });
}

}  // namespace seekable::binding
