// decodeImage, decodeFrame, readFrame, placeFrame, inflateFrame, decodedSource.
#include <algorithm>

#include "base/buffer.h"
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/short_work.h"
#include "binding/source.h"
#include "layer/decode_image.h"
#include "layer/decoded_source.h"
#include "layer/inflate_frame.h"

namespace seekable::binding {

namespace {

layer::FrameTable frame_table(const Napi::Object& object) {
  return {.compressed = string_of(object, "compression") == "zstd",
          .offsets = numbers(object.Get("offsets")),
          .starts = numbers(object.Get("starts")),
          .checksums = copy(object.Get("checksums")),
          .checksum_size = number_of(object, "checksumSize")};
}

layer::ExpectedTree expected_tree(const Napi::Object& object) {
  using Location = layer::ExpectedTree::Location;
  return {.parameters = verity_parameters(object),
          .root = copy(object.Get("root")),
          .data_size = number_of(object, "dataSize"),
          .location = string_of(object, "location") == "image" ? Location::kImage : Location::kBlob,
          .offset = number_of(object, "treeOffset")};
}

// The options of one call, with the file that they point to.
struct Request {
  std::shared_ptr<const ByteSource> blob;
  layer::FrameTable table;
  layer::DecodeOptions options;
  File target;
};

std::shared_ptr<Request> request_of(const Napi::CallbackInfo& info) {
  const auto options = info[2].As<Napi::Object>();
  auto request = std::make_shared<Request>();
  request->blob = SourceHandle::of(info[0]);
  request->table = frame_table(info[1].As<Napi::Object>());
  request->options.threads = static_cast<unsigned>(number_of(options, "threads"));
  request->options.temporary_directory = string_of(options, "tmpDir");
  if (!is_null(options, "verity")) request->options.tree = expected_tree(object_of(options, "verity"));
  if (!is_null(options, "target")) {
    const auto target = object_of(options, "target");
    request->target = value_or_throw(
        info.Env(), File::duplicate(static_cast<int>(number_of(target, "fd")), string_of(target, "name")));
    request->options.target = &request->target;
    request->options.syncs = target.Get("sync").ToBoolean();
  }
  return request;
}

// What a frame has to be, and the bytes that it decodes to: the second argument.
struct FrameDecoder {
  uint64_t length;
  bool compressed;
  std::vector<uint8_t> checksum;
  std::string name;

  // Decodes to a file; the SHA-256. The bytes never are JavaScript's, which would keep them until it collects
  // garbage.
  Result<Buffer> place(Bytes frame, const File& target, uint64_t offset) const {
    Buffer out = TRY(decode(frame));
    TRY(target.write_at(offset, out.first(length)));
    const hash::Sha256Digest digest = hash::sha256(out.first(length));
    Buffer result = TRY(Buffer::allocate(digest.size()));
    std::copy(digest.begin(), digest.end(), result.data());
    return result;
  }

  Result<Buffer> decode(Bytes frame) const {
    Buffer out = TRY(Buffer::allocate_to_give(length));
    TRY(layer::decode_frame(frame, compressed, checksum, out.first(length), name));
    return out;
  }
};

std::shared_ptr<File> target_of(Napi::Env env, const Napi::Object& target) {
  const int descriptor = static_cast<int>(number_of(target, "fd"));
  return std::make_shared<File>(value_or_throw(env, File::duplicate(descriptor, string_of(target, "name"))));
}

FrameDecoder frame_decoder(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  return {.length = number_of(options, "length"),
          .compressed = string_of(options, "compression") == "zstd",
          .checksum = copy(options.Get("checksum")),
          .name = string_of(options, "name")};
}

Result<Buffer> read_and_decode(const ByteSource& source, uint64_t offset, uint64_t size,
                               const FrameDecoder& decoder) {
  Buffer frame = TRY(Buffer::allocate(size));
  TRY(source.read_at(offset, frame.first(size)));
  return decoder.decode(frame.first(size));
}

}  // namespace

Napi::Value decode_image(const Napi::CallbackInfo& info) {
  return run_async<layer::DecodedImage>(
      info.Env(), JobHandle::of(info[3]),
      [request = request_of(info)](Job& job) {
        return layer::decode_image(*request->blob, request->table, request->options, job);
      },
      [](Napi::Env env, layer::DecodedImage& decoded) {
        auto result = Napi::Object::New(env);
        result.Set("diffId", to_js(env, decoded.diff_id));
        result.Set("blobDigest", to_js(env, decoded.blob_digest));
        return result;
      });
}

Napi::Value decoded_source(const Napi::CallbackInfo& info) {
  const auto threads = static_cast<unsigned>(number_of(info[2].As<Napi::Object>(), "threads"));
  return SourceHandle::wrap(
      info.Env(), value_or_throw(info.Env(), layer::DecodedSource::open(
                                                 SourceHandle::of(info[0]),
                                                 frame_table(info[1].As<Napi::Object>()), threads)));
}

Napi::Value decode_frame(const Napi::CallbackInfo& info) {
  return run_short(info.Env(),
                   [decoder = frame_decoder(info), frame = copy(info[0])] { return decoder.decode(frame); });
}

Napi::Value place_frame(const Napi::CallbackInfo& info) {
  const auto target = info[2].As<Napi::Object>();
  return run_short(
      info.Env(), [decoder = frame_decoder(info), frame = copy(info[0]), file = target_of(info.Env(), target),
                   offset = number_of(target, "offset")] { return decoder.place(frame, *file, offset); });
}

Napi::Value read_frame(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  return run_short(info.Env(), [source = SourceHandle::of(info[0]), offset = number_of(options, "offset"),
                                size = number_of(options, "size"), decoder = frame_decoder(info)] {
    return read_and_decode(*source, offset, size, decoder);
  });
}

Napi::Value inflate_frame(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  const auto target = info[2].As<Napi::Object>();
  return run_async<hash::Sha256Digest>(
      info.Env(), JobHandle::of(info[3]),
      [frame = SourceHandle::of(info[0]), length = number_of(options, "length"),
       zeros = number_of(options, "zeros"), name = string_of(options, "name"),
       file = target_of(info.Env(), target), offset = number_of(target, "offset")](Job& job) {
        return layer::inflate_frame(*frame, {.length = length, .zeros = zeros}, *file, offset, name, job);
      },
      [](Napi::Env env, hash::Sha256Digest& digest) { return to_js(env, digest); });
}

}  // namespace seekable::binding
