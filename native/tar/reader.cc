#include "tar/reader.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "base/text.h"
#include "tar/header.h"
#include "tar/metadata_reader.h"
#include "tar/pax.h"
#include "tar/sparse.h"

namespace seekable::tar {

namespace {

using Block = std::array<uint8_t, kBlockSize>;

// Of what is held in memory. A hundred xattrs of the largest size that Linux allows (64 KiB) fit the first.
constexpr uint64_t kMaxPaxHeader = uint64_t{16} << 20;
constexpr uint64_t kMaxLongName = uint64_t{1} << 20;
constexpr size_t kMaxWarnings = 100;
constexpr size_t kMaxQuoted = 4096;  // bytes of a name that a message repeats

std::string quoted(std::string_view name) {
  if (name.size() <= kMaxQuoted) return printable(name);
  return printable(name.substr(0, kMaxQuoted)) + "... (" + std::to_string(name.size()) + " bytes)";
}

// Completes an error of the parsers, which don't know what they parse; others stay as they are.
Error locate(Error error, std::string_view name, uint64_t header_offset) {
  if (!error.what.empty()) return error;
  error.what = "entry " + quoted(name);
  error.why += " (header at byte " + std::to_string(header_offset) + ")";
  return error;
}

// Keeps the first hundred, and a count of the rest as its last line.
class Warnings {
 public:
  void add(std::string_view name, const std::string& text) {
    if (++count_ <= kMaxWarnings) {
      lines_.push_back("entry " + quoted(name) + ": " + text);
      return;
    }
    lines_.resize(kMaxWarnings);
    lines_.push_back("and " + std::to_string(count_ - kMaxWarnings) + " more warnings about the tar");
  }
  const std::vector<std::string>& lines() const { return lines_; }

 private:
  uint64_t count_ = 0;
  std::vector<std::string> lines_;
};

// What the headers before an entry's own say about it.
struct Extensions {
  bool any = false;
  PaxHeader pax;            // of the last 'x' header: an earlier one is forgotten
  std::string long_name;    // 'L'
  std::string long_target;  // 'K'
};

// As Go resolves it, thus container runtimes: 'L' before PAX. An empty value is none.
std::string entry_name(const Extensions& extensions, std::string plain) {
  if (const std::string* name = extensions.pax.find("GNU.sparse.name")) return *name;
  if (!extensions.long_name.empty()) return extensions.long_name;
  if (const std::string* name = extensions.pax.find("path")) return *name;
  return plain;
}

std::string link_target(const Extensions& extensions, const std::string& plain) {
  if (!extensions.long_target.empty()) return extensions.long_target;
  if (const std::string* target = extensions.pax.find("linkpath")) return *target;
  return plain;
}

Result<EntryType> entry_type(char typeflag, std::string_view name) {
  switch (typeflag) {
    case '0':
    case '7':
    case 'S': return EntryType::kFile;
    // v7 has no flag for directories, only the slash; where there are flags, a slash means nothing.
    case '\0': return name.ends_with('/') ? EntryType::kDirectory : EntryType::kFile;
    case '1': return EntryType::kHardLink;
    case '2': return EntryType::kSymlink;
    case '3': return EntryType::kCharDevice;
    case '4': return EntryType::kBlockDevice;
    case '5': return EntryType::kDirectory;
    case '6': return EntryType::kFifo;
    case 'D':
      return refused("", "it is a GNU dump directory (type 'D'), which belongs to incremental backups");
    case 'M': return refused("", "it continues a file of another volume (type 'M')");
    default: return refused("", "its type '" + printable({&typeflag, 1}) + "' is unknown");
  }
}

// A user or group: PAX overrules the header.
Result<uint32_t> owner_id(const PaxHeader& pax, const char* key, int64_t plain) {
  if (const std::string* text = pax.find(key)) {
    const std::optional<uint64_t> number = parse_decimal(*text);
    if (!number) return corrupt("", std::string("its PAX ") + key + " is no decimal number");
    plain = static_cast<int64_t>(std::min<uint64_t>(*number, INT64_MAX));
  }
  if (plain >= 0 && plain < UINT32_MAX) return static_cast<uint32_t>(plain);
  // 2^32-1 is how system calls say "leave the owner as it is", so no file can have it.
  return refused("",
                 std::string("its ") + key + " " + std::to_string(plain) + " isn't between 0 and 4294967294");
}

Result<uint64_t> stored_size(const PaxHeader& pax, int64_t plain) {
  if (const std::string* text = pax.find("size")) {
    const std::optional<uint64_t> number = parse_decimal(*text);
    if (!number || *number > static_cast<uint64_t>(INT64_MAX)) {
      return corrupt("", "its PAX size is no valid size");
    }
    return *number;
  }
  if (plain < 0) return corrupt("", "its size is negative: " + std::to_string(plain));
  return static_cast<uint64_t>(plain);
}

Result<Timestamp> modified(const PaxHeader& pax, int64_t plain) {
  const std::string* text = pax.find("mtime");
  if (text == nullptr) return Timestamp{plain, 0};
  const std::optional<Timestamp> time = parse_pax_time(*text);
  if (time) return *time;
  return corrupt("", "its PAX mtime is no valid time: '" + printable(text->substr(0, 64)) + "'");
}

Result<uint32_t> device_number(int64_t number) {
  if (number >= 0 && number <= UINT32_MAX) return static_cast<uint32_t>(number);
  return refused("", "its device number " + std::to_string(number) + " doesn't fit 32 bits");
}

// Everything but type, data and names.
Status set_attributes(const Header& header, const PaxHeader& pax, Entry& entry) {
  entry.permissions = static_cast<uint16_t>(header.mode & 07777);
  entry.uid = TRY(owner_id(pax, "uid", header.uid));
  entry.gid = TRY(owner_id(pax, "gid", header.gid));
  const Timestamp time = TRY(modified(pax, header.mtime));
  entry.mtime = time.seconds;
  entry.mtime_nsec = time.nanoseconds;
  entry.device_major = TRY(device_number(header.device_major));
  entry.device_minor = TRY(device_number(header.device_minor));
  entry.xattrs = TRY(pax_xattrs(pax));
  return ok();
}

bool is_link(EntryType type) { return type == EntryType::kHardLink || type == EntryType::kSymlink; }

}  // namespace

struct Reader::State {
  explicit State(const ByteSource& source) : metadata(source) {}

  MetadataReader metadata;
  uint64_t next_header = 0;             // its offset; stays where it is when an entry can't be read
  std::optional<std::string> previous;  // name of the entry before, for faults of headers that have no name
  Warnings warnings;

  Result<std::optional<Entry>> next();

 private:
  Result<bool> read_header(uint64_t offset, Block& block);
  Error header_error(uint64_t offset, const std::string& fault) const;
  Result<std::string> read_payload(const Header& header, uint64_t offset, uint64_t limit);
  Result<bool> read_extension(const Header& header, uint64_t offset, Extensions& extensions);
  Result<uint64_t> read_entry(const Header& header, Bytes block, const Extensions& extensions, uint64_t start,
                              Entry& entry);
  Result<uint64_t> read_data(const Header& header, Bytes block, const PaxHeader& pax, uint64_t start,
                             Entry& entry);
};

Error Reader::State::header_error(uint64_t offset, const std::string& fault) const {
  const std::string place = previous ? "the entry after " + quoted(*previous) : "the first entry";
  return corrupt(place, fault + " (header at byte " + std::to_string(offset) + ")");
}

// False at the end of the archive: two zero blocks (what follows is ignored), or the end of the source with
// or without one zero block.
Result<bool> Reader::State::read_header(uint64_t offset, Block& block) {
  if (offset >= metadata.size()) return false;
  if (!metadata.holds(offset, kBlockSize)) return header_error(offset, "the tar ends inside a header");
  std::ranges::copy(TRY(metadata.view(offset, kBlockSize)), block.begin());
  if (!is_zero_block(block)) {
    if (!has_valid_checksum(block)) {
      return header_error(offset, "this is no tar header: its checksum is wrong");
    }
    return true;
  }
  const uint64_t after = offset + kBlockSize;
  if (after == metadata.size()) return false;
  if (!metadata.holds(after, kBlockSize)) return header_error(after, "the tar ends inside a header");
  if (is_zero_block(TRY(metadata.view(after, kBlockSize)))) return false;
  return header_error(offset, "a lone zero block is followed by more; the end of a tar is two of them");
}

// The data of an extension header, which lies at `offset`.
Result<std::string> Reader::State::read_payload(const Header& header, uint64_t offset, uint64_t limit) {
  const uint64_t size = TRY(stored_size({}, header.size));
  if (!metadata.holds(offset, size)) {
    return corrupt("", "the tar ends inside its " + std::to_string(size) + " bytes of extended header");
  }
  if (size > limit) {
    return refused("", "its extended header of " + std::to_string(size) + " bytes is over the limit of " +
                           std::to_string(limit));
  }
  return metadata.copy(offset, static_cast<size_t>(size));
}

// False if `header` is an entry's own. `offset` is that of the data.
Result<bool> Reader::State::read_extension(const Header& header, uint64_t offset, Extensions& extensions) {
  switch (header.typeflag) {
    case 'x': {
      extensions.pax = TRY(parse_pax(TRY(read_payload(header, offset, kMaxPaxHeader))));
      break;
    }
    case 'g': {
      const PaxHeader global = TRY(parse_pax(TRY(read_payload(header, offset, kMaxPaxHeader))));
      if (!global.only_comments) {
        warnings.add(header.name, "a global PAX header is ignored, as container runtimes do");
      }
      return true;
    }
    case 'L':
    case 'K': {
      std::string text = TRY(read_payload(header, offset, kMaxLongName));
      text.resize(std::min(text.find('\0'), text.size()));
      (header.typeflag == 'L' ? extensions.long_name : extensions.long_target) = std::move(text);
      break;
    }
    case 'V': {  // the name of the whole tar
      const uint64_t size = TRY(stored_size({}, header.size));
      if (!metadata.holds(offset, size)) return corrupt("", "the tar ends inside this volume label");
      extensions = {};
      return true;
    }
    default: return false;
  }
  extensions.any = true;
  return true;
}

// Sets the entry's size and data, which starts at `start` if it has any. Returns the offset of the next
// header.
Result<uint64_t> Reader::State::read_data(const Header& header, Bytes block, const PaxHeader& pax,
                                          uint64_t start, Entry& entry) {
  const SparseForm form = TRY(sparse_form(header, pax));
  if (entry.type != EntryType::kFile) {
    // As GNU tar and Go do, the size of these is ignored: none stores data, whatever a writer puts there.
    if (form != SparseForm::kNone) return refused("", "it has a sparse map, but is no file");
    return start;
  }
  const uint64_t size = TRY(stored_size(pax, header.size));
  StoredFile file{size, {}, start + size};
  if (form != SparseForm::kNone) {
    file = TRY(locate_sparse(form, block, pax, metadata, start, size));
  } else if (size > 0) {
    file.data.push_back({0, start, size});
  }
  if (file.end > metadata.size()) {
    return corrupt("", "its data goes on to byte " + std::to_string(file.end) +
                           ", but the tar ends at byte " + std::to_string(metadata.size()));
  }
  const uint64_t next = round_up(file.end, kBlockSize);
  if (next > metadata.size()) warnings.add(entry.name, "the tar ends before the padding of its data");
  entry.size = file.size;
  entry.data = std::move(file.data);
  return next;
}

// Fills `entry`, whose header is read and ends at `start`. Returns the offset of the next header.
Result<uint64_t> Reader::State::read_entry(const Header& header, Bytes block, const Extensions& extensions,
                                           uint64_t start, Entry& entry) {
  const PaxHeader& pax = extensions.pax;
  entry.name = entry_name(extensions, header.name);
  entry.type = TRY(entry_type(header.typeflag, entry.name));
  if (is_link(entry.type)) entry.target = link_target(extensions, header.target);
  TRY(set_attributes(header, pax, entry));
  const uint64_t next = TRY(read_data(header, block, pax, start, entry));
  if (pax.has_prefix("SCHILY.acl.")) warnings.add(entry.name, "its ACLs are dropped");
  if (pax.has_prefix("RHT.security.")) warnings.add(entry.name, "its RHT.security records are dropped");
  return next;
}

Result<std::optional<Entry>> Reader::State::next() {
  Extensions extensions;
  Block block;
  for (uint64_t offset = next_header;;) {
    if (!TRY(read_header(offset, block))) {
      if (extensions.any) return header_error(next_header, "an extended header is followed by no entry");
      return std::optional<Entry>();
    }
    Result<Header> header = parse_header(block);
    if (!header.ok()) return locate(header.error(), entry_name(extensions, header_name(block)), offset);
    const uint64_t after = offset + kBlockSize;
    Result<bool> is_extension = read_extension(header.value(), after, extensions);
    if (!is_extension.ok()) return locate(is_extension.error(), header.value().name, offset);
    if (is_extension.value()) {
      offset = round_up(after + static_cast<uint64_t>(header.value().size), kBlockSize);
      continue;
    }
    Entry entry;
    Result<uint64_t> next = read_entry(header.value(), block, extensions, after, entry);
    if (!next.ok()) return locate(next.error(), entry_name(extensions, header.value().name), offset);
    next_header = next.value();
    previous = entry.name;
    return std::optional<Entry>(std::move(entry));
  }
}

Reader::Reader(const ByteSource& source) : state_(std::make_unique<State>(source)) {}
Reader::~Reader() = default;

Result<std::optional<Entry>> Reader::next() { return state_->next(); }

const std::vector<std::string>& Reader::warnings() const { return state_->warnings.lines(); }

}  // namespace seekable::tar
