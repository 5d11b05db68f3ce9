#include "tar/sparse.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/checked.h"

namespace seekable::tar {

namespace {

// GNU tar starts each region of an 'S' entry in a block of its own. The PAX forms are read without gaps, by
// Go (thus by container runtimes) and by libarchive. Writers make all regions but the last whole blocks, so
// it's all one then.
enum class Packing { kBlocks, kGapless };

Error misplaced(uint64_t offset, uint64_t length, const char* fault, uint64_t limit) {
  return refused("", "its sparse region of " + std::to_string(length) + " bytes at " +
                         std::to_string(offset) + " " + fault + ", " + std::to_string(limit));
}

class SparseMap {
 public:
  SparseMap(uint64_t file_size, Packing packing) : file_size_(file_size), packing_(packing) {}

  Status add(uint64_t offset, uint64_t length) {
    if (++count_ > kMaxRegions) {
      return refused("", "its sparse map has over " + std::to_string(kMaxRegions) + " regions");
    }
    if (offset < end_) return misplaced(offset, length, "starts before the previous one ends", end_);
    if (offset > file_size_ || length > file_size_ - offset) {
      return misplaced(offset, length, "passes the file's size", file_size_);
    }
    end_ = offset + length;
    if (length > 0) append(offset, length);
    return ok();
  }

  // The file, when its data starts at `start` of the source and its size field says `stored_size`.
  Result<StoredFile> place(uint64_t start, uint64_t stored_size) && {
    if (data_bytes_ != stored_size) {
      return corrupt("", "its sparse map names " + std::to_string(data_bytes_) + " bytes of data, but " +
                             std::to_string(stored_size) + " are stored");
    }
    for (DataRange& range : data_) range.source_offset += start;
    const uint64_t end = data_.empty() ? start : data_.back().source_offset + data_.back().length;
    return StoredFile{file_size_, std::move(data_), end};
  }

 private:
  // Offsets into the source count from the data's start until place().
  void append(uint64_t offset, uint64_t length) {
    const uint64_t place = packing_ == Packing::kBlocks ? round_up(next_, kBlockSize) : next_;
    next_ = place + length;
    data_bytes_ += length;
    if (!data_.empty()) {
      DataRange& last = data_.back();
      if (last.file_offset + last.length == offset && last.source_offset + last.length == place) {
        last.length += length;
        return;
      }
    }
    data_.push_back({offset, place, length});
  }

  uint64_t file_size_;
  Packing packing_;
  size_t count_ = 0;
  uint64_t end_ = 0;         // of the last region, in the file
  uint64_t next_ = 0;        // place of the next region
  uint64_t data_bytes_ = 0;  // without gaps
  std::vector<DataRange> data_;
};

constexpr size_t kRegionLength = 24;  // two number fields of 12 bytes

// An array of regions, and a flag for "another block of regions follows".
struct OldGnuTable {
  size_t offset;
  size_t regions;
  size_t more_flag;
};
constexpr OldGnuTable kInHeader{386, 4, 482};
constexpr OldGnuTable kInExtension{0, 21, 504};
constexpr size_t kRealSizeOffset = 483;

Result<uint64_t> old_gnu_number(Bytes field) {
  const std::optional<int64_t> number = parse_number(field);
  if (!number || *number < 0) return corrupt("", "its sparse map holds an invalid number");
  return static_cast<uint64_t>(*number);
}

Status add_old_gnu_regions(Bytes block, const OldGnuTable& table, SparseMap& map) {
  for (size_t i = 0; i < table.regions; ++i) {
    const Bytes region = block.subspan(table.offset + i * kRegionLength, kRegionLength);
    const Bytes length = region.subspan(12);
    if (length[0] == 0) break;  // unused from here on
    TRY(map.add(TRY(old_gnu_number(region.first(12))), TRY(old_gnu_number(length))));
  }
  return ok();
}

Result<StoredFile> locate_old_gnu(Bytes block, MetadataReader& metadata, uint64_t start,
                                  uint64_t stored_size) {
  SparseMap map(TRY(old_gnu_number(block.subspan(kRealSizeOffset, 12))), Packing::kBlocks);
  TRY(add_old_gnu_regions(block, kInHeader, map));
  bool more = block[kInHeader.more_flag] != 0;
  while (more) {
    if (!metadata.holds(start, kBlockSize)) return corrupt("", "the tar ends inside its sparse map");
    const Bytes extension = TRY(metadata.view(start, kBlockSize));
    TRY(add_old_gnu_regions(extension, kInExtension, map));
    more = extension[kInExtension.more_flag] != 0;
    start += kBlockSize;
  }
  return std::move(map).place(start, stored_size);
}

Result<uint64_t> real_size(const PaxHeader& pax) {
  const std::string* text = pax.find("GNU.sparse.realsize");
  if (text == nullptr) text = pax.find("GNU.sparse.size");
  const std::optional<uint64_t> size = text == nullptr ? std::nullopt : parse_decimal(*text);
  if (!size || *size > static_cast<uint64_t>(INT64_MAX)) {
    return corrupt("", "its PAX records give a sparse map, but no valid size of the file");
  }
  return *size;
}

// The first of the comma-separated numbers in `rest`, which loses it.
Result<uint64_t> cut_number(std::string_view& rest) {
  const size_t comma = std::min(rest.find(','), rest.size());
  const std::optional<uint64_t> number = parse_decimal(rest.substr(0, comma));
  if (!number) return corrupt("", "its GNU.sparse.map isn't pairs of numbers");
  rest.remove_prefix(std::min(comma + 1, rest.size()));
  return *number;
}

Result<StoredFile> locate_pax_in_header(const PaxHeader& pax, uint64_t start, uint64_t stored_size) {
  SparseMap map(TRY(real_size(pax)), Packing::kGapless);
  const std::string* text = pax.find("GNU.sparse.map");
  uint64_t regions = 0;
  for (std::string_view rest = text == nullptr ? std::string_view() : *text; !rest.empty(); ++regions) {
    const uint64_t offset = TRY(cut_number(rest));
    TRY(map.add(offset, TRY(cut_number(rest))));
  }
  const std::string* announced = pax.find("GNU.sparse.numblocks");
  if (announced != nullptr && parse_decimal(*announced) != regions) {
    return corrupt("",
                   "its sparse map has " + std::to_string(regions) + " regions, not the announced number");
  }
  return std::move(map).place(start, stored_size);
}

// Numbers, one a line, in the blocks that precede a file's data.
class NumberLines {
 public:
  NumberLines(MetadataReader& metadata, uint64_t start, uint64_t stored_size)
      : metadata_(metadata), next_block_(start), blocks_left_(stored_size / kBlockSize) {}

  Result<uint64_t> next() {
    std::string line;
    while (line.size() <= kMaxNumber) {
      if (unread_.empty()) TRY(read_block());
      const char character = static_cast<char>(unread_.front());
      unread_ = unread_.subspan(1);
      if (character != '\n') {
        line += character;
      } else if (const std::optional<uint64_t> number = parse_decimal(line)) {
        return *number;
      } else {
        break;
      }
    }
    return corrupt("", "the sparse map before its data holds a line that is no number");
  }

  // Where the first unread block starts.
  uint64_t end() const { return next_block_; }

 private:
  Status read_block() {
    if (blocks_left_ == 0 || !metadata_.holds(next_block_, kBlockSize)) {
      return corrupt("", "the sparse map before its data doesn't end within the entry");
    }
    unread_ = TRY(metadata_.view(next_block_, kBlockSize));
    next_block_ += kBlockSize;
    --blocks_left_;
    return ok();
  }

  static constexpr size_t kMaxNumber = 20;  // digits of 2^64

  MetadataReader& metadata_;
  uint64_t next_block_;
  uint64_t blocks_left_;
  Bytes unread_;  // of the block read last
};

Result<StoredFile> locate_pax_in_data(const PaxHeader& pax, MetadataReader& metadata, uint64_t start,
                                      uint64_t stored_size) {
  SparseMap map(TRY(real_size(pax)), Packing::kGapless);
  NumberLines lines(metadata, start, stored_size);
  const uint64_t regions = TRY(lines.next());
  for (uint64_t i = 0; i < regions; ++i) {
    const uint64_t offset = TRY(lines.next());
    TRY(map.add(offset, TRY(lines.next())));
  }
  return std::move(map).place(lines.end(), stored_size - (lines.end() - start));
}

}  // namespace

Result<SparseForm> sparse_form(const Header& header, const PaxHeader& pax) {
  const std::string* major = pax.find("GNU.sparse.major");
  const std::string* minor = pax.find("GNU.sparse.minor");
  const bool in_pax = major != nullptr || minor != nullptr || pax.find("GNU.sparse.map") != nullptr ||
                      pax.find("GNU.sparse.numblocks") != nullptr;
  if (header.typeflag == 'S') {
    if (header.dialect != Dialect::kGnu) {
      return refused("", "it is a sparse file ('S') of a tar that isn't GNU's");
    }
    if (in_pax) return refused("", "it has two sparse maps: as an 'S' entry and in its PAX records");
    return SparseForm::kOldGnu;
  }
  if (!in_pax) return SparseForm::kNone;
  if (major == nullptr && minor == nullptr) return SparseForm::kPaxInHeader;  // 0.0 and 0.1 name no version
  const std::string version = (major == nullptr ? "" : *major) + "." + (minor == nullptr ? "" : *minor);
  if (version == "0.0" || version == "0.1") return SparseForm::kPaxInHeader;
  if (version == "1.0") return SparseForm::kPaxInData;
  return refused("", "it is stored in an unknown version of GNU's sparse format");
}

Result<StoredFile> locate_sparse(SparseForm form, Bytes block, const PaxHeader& pax, MetadataReader& metadata,
                                 uint64_t start, uint64_t stored_size) {
  switch (form) {
    case SparseForm::kNone: break;
    case SparseForm::kOldGnu: return locate_old_gnu(block, metadata, start, stored_size);
    case SparseForm::kPaxInHeader: return locate_pax_in_header(pax, start, stored_size);
    case SparseForm::kPaxInData: return locate_pax_in_data(pax, metadata, start, stored_size);
  }
  return usage("sparse file", "the entry isn't sparse");
}

}  // namespace seekable::tar
