// A planned EROFS image: any byte range of it can be produced, by any thread, in any order, always the same.
// Structures: docs/format/erofs.md. plan.cc decides, write.cc produces.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/io.h"
#include "base/job.h"
#include "erofs/data_map.h"
#include "erofs/hot.h"
#include "erofs/tree.h"

namespace seekable::erofs {

// A device that has the data of all files, at the offsets which the extents of the tree name.
struct DataDevice {
  std::string tag;  // of its slot; at most 64 bytes
  uint64_t size = 0;
};

struct PlanOptions {
  uint32_t block_size = 4096;  // 512, 1024, 2048 or 4096
  // Files whose data comes first, in this order; those that are not there, or are no files with data, are
  // left out. Where it ends, zeros fill the image up to a multiple of `hot_border` bytes.
  std::vector<HotFile> hot = {};
  uint64_t hot_border = 4096;  // a multiple of block_size
  // The image has metadata alone, and its chunks point into this device. Nothing is hot then.
  std::optional<DataDevice> device = {};
};

struct ImageSummary {
  uint64_t inodes;         // written, hard links counted once
  uint64_t metadata_size;  // bytes before the first block of file data, padding included
  uint32_t block_size;
  int64_t epoch;                         // seconds since 1970
  uint64_t hot_end = 0;                  // where the hot part ends, filling included; 0: there is none
  std::vector<uint32_t> hot_found = {};  // indices of those of PlanOptions::hot that are files
  bool has_device = false;               // of PlanOptions: not where no file has data
};

class Image : public ByteSource {
 public:
  virtual const ImageSummary& summary() const = 0;
  // The content-derived UUID of the superblock is computed by layer/build_image.cc: it hashes
  // [0, metadata_size) while UUID and checksum are zero, then calls this once, before any other read.
  virtual void set_uuid(Bytes uuid) = 0;
  // All that is behind the metadata, for callers that have read that. The image is of no use afterwards.
  virtual DataMap take_data_map() && = 0;
};

// A range of an image, parted where its file data begins.
struct ImageRange {
  MutableBytes metadata;  // empty if the range begins behind the metadata
  uint64_t data_offset;   // of `data` in the image
  MutableBytes data;
};
// `out` is the range that begins at `offset`. kUsage if it reaches beyond `image_size`.
Result<ImageRange> split_range(uint64_t image_size, uint64_t metadata_size, uint64_t offset,
                               MutableBytes out);

// Plans the image of `tree`, whose names are sorted. `data` is what its extents point into; it outlives the
// image. Errors name the path: kUnsupported for what EROFS cannot hold (too many xattr bytes, a name or file
// too large), or what can't be said of a device (data that does not lie in whole blocks).
Result<std::unique_ptr<Image>> plan_image(Tree tree, const ByteSource& data, const PlanOptions& options,
                                          Job& job);

}  // namespace seekable::erofs
