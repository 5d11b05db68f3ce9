#include "tar/header.h"

#include <algorithm>
#include <string_view>

#include "base/text.h"

namespace seekable::tar {

namespace {

struct Field {
  const char* label;
  size_t offset;
  size_t length;
};

constexpr Field kName{"name", 0, 100};
constexpr Field kMode{"mode", 100, 8};
constexpr Field kUid{"uid", 108, 8};
constexpr Field kGid{"gid", 116, 8};
constexpr Field kSize{"size", 124, 12};
constexpr Field kMtime{"mtime", 136, 12};
constexpr Field kChecksum{"checksum", 148, 8};
constexpr size_t kTypeflagOffset = 156;
constexpr Field kTarget{"target", 157, 100};
constexpr Field kMagic{"magic", 257, 8};  // the version included
constexpr Field kDeviceMajor{"device major", 329, 8};
constexpr Field kDeviceMinor{"device minor", 337, 8};
constexpr Field kPrefix{"prefix", 345, 155};
constexpr Field kStarPrefix{"prefix", 345, 131};
constexpr Field kStarTrailer{"trailer", 508, 4};
constexpr Field kGnuAtime{"atime", 345, 12};
constexpr Field kGnuCtime{"ctime", 357, 12};

Bytes bytes_of(Bytes block, const Field& field) { return block.subspan(field.offset, field.length); }

// Text ends at the first NUL, or with its field.
std::string_view text_of(Bytes block, const Field& field) {
  const std::string_view text = as_text(bytes_of(block, field));
  return text.substr(0, text.find('\0'));
}

Dialect dialect_of(Bytes block) {
  const std::string_view magic = as_text(bytes_of(block, kMagic));
  if (magic == std::string_view("ustar  \0", 8)) return Dialect::kGnu;
  if (magic.starts_with(std::string_view("ustar\0", 6))) return Dialect::kUstar;
  return Dialect::kV7;
}

bool is_star(Bytes block) { return as_text(bytes_of(block, kStarTrailer)) == std::string_view("tar\0", 4); }

// GNU headers have times where ustar has the prefix. But Go before 1.8 wrote a prefix under GNU's magic, and
// images of that age are still around: what can't be a time is a prefix.
std::string_view gnu_prefix(Bytes block) {
  const auto may_be_time = [&](const Field& field) {
    return block[field.offset] == 0 || parse_number(bytes_of(block, field)).has_value();
  };
  if (may_be_time(kGnuAtime) && may_be_time(kGnuCtime)) return {};
  const std::string_view prefix = text_of(block, kPrefix);
  const bool ascii = std::ranges::all_of(prefix, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  return ascii ? prefix : std::string_view();
}

std::string_view prefix_of(Bytes block) {
  switch (dialect_of(block)) {
    case Dialect::kV7: return {};
    case Dialect::kUstar: return text_of(block, is_star(block) ? kStarPrefix : kPrefix);
    case Dialect::kGnu: return gnu_prefix(block);
  }
  return {};
}

std::optional<int64_t> parse_base256(Bytes field) {
  const bool negative = (field[0] & 0x40) != 0;
  const uint8_t fill = negative ? 0xff : 0;
  uint64_t value = negative ? ~uint64_t{0} : 0;
  for (size_t i = 0; i < field.size(); ++i) {
    // The first byte's top bit is the mark, the next one the sign.
    const auto byte = i == 0 ? static_cast<uint8_t>(negative ? field[0] | 0x80 : field[0] & 0x7f) : field[i];
    if (static_cast<uint8_t>(value >> 56) != fill) return std::nullopt;
    value = value << 8 | byte;
  }
  const auto number = static_cast<int64_t>(value);
  if ((number < 0) != negative) return std::nullopt;
  return number;
}

std::optional<int64_t> parse_octal(std::string_view text) {
  const size_t start = std::min(text.find_first_not_of(std::string_view(" \0", 2)), text.size());
  text.remove_prefix(start);
  const size_t digits = std::min(text.find_first_not_of("01234567"), text.size());
  if (digits == 0 && !text.empty()) return std::nullopt;
  if (digits < text.size() && text[digits] != ' ' && text[digits] != '\0') return std::nullopt;
  if (digits > 20) return std::nullopt;  // 60 bits; no field is that long
  int64_t value = 0;
  for (const char digit : text.substr(0, digits)) value = value * 8 + (digit - '0');
  return value;
}

Result<int64_t> number_of(Bytes block, const Field& field) {
  const Bytes bytes = bytes_of(block, field);
  const std::optional<int64_t> value = parse_number(bytes);
  if (value) return *value;
  return corrupt("", std::string("its ") + field.label + " field is no number that fits 64 bits: '" +
                         printable(as_text(bytes)) + "'");
}

}  // namespace

bool is_zero_block(Bytes block) {
  return std::ranges::all_of(block, [](uint8_t byte) { return byte == 0; });
}

bool has_valid_checksum(Bytes block) {
  uint32_t sum = 0;
  uint32_t high_bytes = 0;  // each counts 256 less when bytes are signed
  for (const uint8_t byte : block) {
    sum += byte;
    high_bytes += byte >> 7;
  }
  // The sum was made with spaces in its own field.
  for (const uint8_t byte : bytes_of(block, kChecksum)) {
    sum += ' ' - byte;
    high_bytes -= byte >> 7;
  }
  const std::optional<int64_t> stored = parse_number(bytes_of(block, kChecksum));
  const int64_t signed_sum = int64_t{sum} - 256 * int64_t{high_bytes};
  return stored && (*stored == sum || *stored == signed_sum);
}

std::string header_name(Bytes block) {
  const std::string_view prefix = prefix_of(block);
  const std::string_view name = text_of(block, kName);
  if (prefix.empty()) return std::string(name);
  return std::string(prefix) + "/" + std::string(name);
}

Result<Header> parse_header(Bytes block) {
  Header header;
  header.dialect = dialect_of(block);
  header.typeflag = static_cast<char>(block[kTypeflagOffset]);
  header.name = header_name(block);
  header.target = text_of(block, kTarget);
  header.mode = TRY(number_of(block, kMode));
  header.uid = TRY(number_of(block, kUid));
  header.gid = TRY(number_of(block, kGid));
  header.size = TRY(number_of(block, kSize));
  header.mtime = TRY(number_of(block, kMtime));
  const bool is_device = header.typeflag == '3' || header.typeflag == '4';
  if (is_device && header.dialect != Dialect::kV7) {
    header.device_major = TRY(number_of(block, kDeviceMajor));
    header.device_minor = TRY(number_of(block, kDeviceMinor));
  }
  return header;
}

std::optional<int64_t> parse_number(Bytes field) {
  if (field.empty()) return 0;
  if ((field[0] & 0x80) != 0) return parse_base256(field);
  return parse_octal(as_text(field));
}

}  // namespace seekable::tar
