#include "layer/open_input.h"

#include <algorithm>
#include <array>

#include "base/buffer.h"

namespace seekable::layer {

namespace {

constexpr size_t kPiece = 1 << 20;

Result<inflate::Compression> detect(const ByteSource& source) {
  std::array<uint8_t, 4> magic{};
  const MutableBytes first = MutableBytes(magic).first(std::min<uint64_t>(magic.size(), source.size()));
  TRY(source.read_at(0, first));
  return inflate::detect(first);
}

}  // namespace

Result<OpenedInput> open_input(std::shared_ptr<const ByteSource> source,
                               const std::string& temporary_directory, Job& job) {
  const inflate::Compression compression = TRY(detect(*source));
  if (compression == inflate::Compression::kNone) return OpenedInput{std::move(source), compression, {}, {}};

  job.begin("inflate", source->size());
  hash::Sha256 source_hash;
  hash::Sha256 content_hash;
  const auto inflater = TRY(inflate::Inflater::open(*source, compression, [&](Bytes input) {
    source_hash.update(input);
    job.advance(input.size());
  }));
  File file = TRY(File::temporary(temporary_directory));
  Buffer buffer = TRY(Buffer::allocate(kPiece));
  uint64_t size = 0;
  for (;;) {
    TRY(job.check());
    const size_t count = TRY(inflater->read(buffer.first(kPiece)));
    if (count == 0) break;
    content_hash.update(buffer.first(count));
    TRY(file.write_at(size, buffer.first(count)));
    size += count;
  }
  return OpenedInput{std::make_shared<FileSource>(std::move(file), 0, size), compression,
                     source_hash.finish(), content_hash.finish()};
}

}  // namespace seekable::layer
