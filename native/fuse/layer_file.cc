#include "fuse/layer_file.h"

#include <algorithm>
#include <utility>

#include "base/checked.h"
#include "fuse/protocol.h"

namespace seekable::fuse {

namespace {

constexpr uint64_t kMaxNode = (uint64_t{1} << 53) - 1;
constexpr uint64_t kMaxSize = (uint64_t{1} << 63) - 1;

Status check(const LayerFile::Options& options) {
  const auto& [node, name, data, starts, present, keeps_log] = options;
  if (node <= kRootNode || node > kMaxNode) return usage(name, "its node is out of range");
  if (name.empty() || name.find('/') != std::string::npos)
    return usage("layer file", "it has no proper name");
  if (starts.empty() || starts.front() != 0) return usage(name, "its first chunk does not begin at 0");
  const bool ascends = std::ranges::adjacent_find(starts, std::ranges::greater_equal{}) == starts.end();
  if (!ascends || starts.back() > kMaxSize) return usage(name, "its chunks do not ascend");
  if (present.size() < ceil_divide(starts.size() - 1, 8))
    return usage(name, "a bit for each chunk is needed");
  return ok();
}

}  // namespace

Result<std::shared_ptr<LayerFile>> LayerFile::create(Options options) {
  TRY(check(options));
  return std::shared_ptr<LayerFile>(new LayerFile(std::move(options)));
}

LayerFile::LayerFile(Options options)
    : node_(options.node),
      name_(std::move(options.name)),
      data_(std::move(options.data)),
      starts_(std::move(options.starts)),
      states_(starts_.size() - 1),
      touched_(starts_.size() - 1),
      log_(options.keeps_log ? std::make_unique<ReadLog>(starts_.back()) : nullptr) {
  for (size_t chunk = 0; chunk < states_.size(); ++chunk) {
    const bool is_present = (options.present[chunk / 8] >> (chunk % 8) & 1) != 0;
    states_[chunk] = is_present ? ChunkState::kPresent : ChunkState::kAbsent;
  }
}

ChunkRange LayerFile::chunks_of(uint64_t offset, uint64_t length) const {
  const auto chunk_at = [this](uint64_t at) {
    return static_cast<uint64_t>(std::ranges::upper_bound(starts_, at) - starts_.begin()) - 1;
  };
  return {chunk_at(offset), chunk_at(offset + length - 1)};
}

bool LayerFile::touch(uint64_t chunk) {
  return !touched_[chunk].load(std::memory_order_relaxed) &&
         !touched_[chunk].exchange(true, std::memory_order_relaxed);
}

}  // namespace seekable::fuse
