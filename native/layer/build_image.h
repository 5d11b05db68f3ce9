// A tar → the EROFS image of it, planned: any range of it can be read at once, nothing is stored.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/job.h"
#include "erofs/image.h"
#include "layer/tree_options.h"

namespace seekable::layer {

struct BuiltImage {
  std::shared_ptr<const ByteSource> image;  // keeps the tar alive
  erofs::ImageSummary summary;
  std::vector<std::string> warnings;
  std::vector<uint64_t> file_pieces;  // as DataMap::file_pieces(); empty unless asked for
};

// The image's UUID is derived from its metadata (docs/format/erofs.md), so equal tars give equal images.
Result<BuiltImage> build_image(std::shared_ptr<const ByteSource> tar, const TreeOptions& tree_options,
                               const erofs::PlanOptions& options, Job& job, bool list_files = false);

}  // namespace seekable::layer
