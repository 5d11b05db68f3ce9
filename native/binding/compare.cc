// compareBytes.
#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "binding/convert.h"
#include "binding/exports.h"
#include "binding/job.h"
#include "binding/source.h"

namespace seekable::binding {

namespace {

constexpr size_t kPieceSize = size_t{256} << 10;  // of the source, read at once
constexpr double kEqual = -1;

// Index of the first of `bytes` that is another one in the source, from `offset` on.
Result<double> first_difference(const ByteSource& source, uint64_t offset, Bytes bytes, MutableBytes piece) {
  for (size_t done = 0; done < bytes.size(); done += piece.size()) {
    const Bytes part = bytes.subspan(done, std::min(piece.size(), bytes.size() - done));
    const MutableBytes read = piece.first(part.size());
    TRY(source.read_at(offset + done, read));
    if (std::memcmp(part.data(), read.data(), part.size()) == 0) continue;
    return static_cast<double>(done + (std::ranges::mismatch(part, read).in1 - part.begin()));
  }
  return kEqual;
}

}  // namespace

Napi::Value compare_bytes(const Napi::CallbackInfo& info) {
  const auto arrays = info[2].As<Napi::Array>();
  std::vector<uint64_t> offsets = numbers(info[1]);
  if (arrays.Length() != offsets.size())
    throw Napi::TypeError::New(info.Env(), "an offset for each of the bytes");
  std::vector<std::vector<uint8_t>> expected;
  for (uint32_t i = 0; i < arrays.Length(); ++i) expected.push_back(copy(arrays[i]));
  return run_async<std::vector<double>>(
      info.Env(), std::make_shared<Job>(),
      [source = SourceHandle::of(info[0]), offsets = std::move(offsets),
       expected = std::move(expected)](Job& job) -> Result<std::vector<double>> {
        Buffer piece = TRY(Buffer::allocate(kPieceSize));
        std::vector<double> found;
        for (size_t i = 0; i < expected.size(); ++i) {
          TRY(job.check());
          found.push_back(TRY(first_difference(*source, offsets[i], expected[i], piece.first(kPieceSize))));
        }
        return found;
      },
      [](Napi::Env env, std::vector<double>& found) {
        auto result = Napi::Float64Array::New(env, found.size());
        std::ranges::copy(found, result.Data());
        return result;
      });
}

}  // namespace seekable::binding
