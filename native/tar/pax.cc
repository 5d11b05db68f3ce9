#include "tar/pax.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/bytes.h"
#include "base/text.h"

namespace seekable::tar {

namespace {

constexpr std::string_view kSchilyXattr = "SCHILY.xattr.";
constexpr std::string_view kLibarchiveXattr = "LIBARCHIVE.xattr.";
constexpr std::string_view kSparseOffset = "GNU.sparse.offset";
constexpr std::string_view kSparseLength = "GNU.sparse.numbytes";
constexpr std::array<std::string_view, 6> kUsedKeys = {"path", "linkpath", "size", "uid", "gid", "mtime"};
constexpr std::array<std::string_view, 5> kUsedPrefixes = {kSchilyXattr, kLibarchiveXattr, "GNU.sparse.",
                                                           "SCHILY.acl.", "RHT.security."};

struct Record {
  std::string_view key;
  std::string_view value;
};

// Cuts the first record off `rest`; nullopt if there is no well-formed one.
std::optional<Record> cut_record(std::string_view& rest) {
  const size_t space = rest.substr(0, 21).find(' ');  // 20 digits hold any length
  if (space == std::string_view::npos) return std::nullopt;
  const std::optional<uint64_t> length = parse_decimal(rest.substr(0, space));
  if (!length || *length > rest.size() || *length < space + 2) return std::nullopt;
  const std::string_view body = rest.substr(space + 1, static_cast<size_t>(*length) - space - 2);
  if (rest[static_cast<size_t>(*length) - 1] != '\n') return std::nullopt;
  rest.remove_prefix(static_cast<size_t>(*length));
  const size_t equals = body.find('=');
  if (equals == std::string_view::npos || equals == 0) return std::nullopt;
  return Record{body.substr(0, equals), body.substr(equals + 1)};
}

bool is_used(std::string_view key) {
  return std::ranges::find(kUsedKeys, key) != kUsedKeys.end() ||
         std::ranges::any_of(kUsedPrefixes, [&](std::string_view prefix) { return key.starts_with(prefix); });
}

bool is_path(std::string_view key) { return key == "path" || key == "linkpath" || key == "GNU.sparse.name"; }

// Collects the alternating offset and numbytes records of sparse format 0.0.
class SparsePairs {
 public:
  // False if the record is out of turn.
  bool add(const Record& record) {
    if ((record.key == kSparseOffset) != (count_ % 2 == 0)) return false;
    if (!parse_decimal(record.value)) return false;
    if (count_++ > 0) text_ += ',';
    text_ += record.value;
    return true;
  }
  bool any() const { return count_ > 0; }
  bool complete() const { return count_ % 2 == 0; }
  std::string& text() { return text_; }

 private:
  size_t count_ = 0;
  std::string text_;
};

int hex_digit(char character) {
  if (character >= '0' && character <= '9') return character - '0';
  const char lower = static_cast<char>(character | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

std::optional<std::string> decode_percent(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

// With or without padding: libarchive writes none.
std::optional<std::string> decode_base64(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  if (text.size() % 4 == 1) return std::nullopt;
  std::string decoded;
  uint32_t bits = 0;
  int pending = 0;
  for (const char character : text) {
    const size_t digit = kAlphabet.find(character);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    pending += 6;
    if (pending < 8) continue;
    pending -= 8;
    decoded += static_cast<char>(bits >> pending & 0xff);
  }
  return decoded;
}

}  // namespace

const std::string* PaxHeader::find(std::string_view key) const {
  const auto found = records.find(key);
  return found == records.end() || found->second.empty() ? nullptr : &found->second;
}

bool PaxHeader::has_prefix(std::string_view prefix) const {
  const auto found = records.lower_bound(prefix);
  return found != records.end() && found->first.starts_with(prefix);
}

Result<PaxHeader> parse_pax(std::string_view text) {
  PaxHeader pax;
  SparsePairs pairs;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string place = std::to_string(text.size() - rest.size());
    const std::optional<Record> record = cut_record(rest);
    if (!record) return corrupt("", "the PAX record at byte " + place + " of its records is malformed");
    if (record->key.find('\0') != std::string_view::npos ||
        (is_path(record->key) && record->value.find('\0') != std::string_view::npos)) {
      return corrupt("", "the PAX record '" + printable(record->key.substr(0, 255)) + "' holds a NUL");
    }
    pax.only_comments = pax.only_comments && record->key == "comment";
    if (record->key == kSparseOffset || record->key == kSparseLength) {
      if (!pairs.add(*record)) {
        return corrupt("", "its GNU.sparse.offset and .numbytes records don't pair up");
      }
    } else if (is_used(record->key)) {
      pax.records.insert_or_assign(std::string(record->key), std::string(record->value));
    }
  }
  if (!pairs.complete()) return corrupt("", "its last GNU.sparse.offset record has no .numbytes");
  if (pairs.any()) pax.records.insert_or_assign("GNU.sparse.map", std::move(pairs.text()));
  return pax;
}

std::optional<uint64_t> parse_decimal(std::string_view text) {
  uint64_t value = 0;  // from_chars takes no sign, space or empty text for an unsigned type
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<Timestamp> parse_pax_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const size_t point = std::min(text.find('.'), text.size());
  const std::optional<uint64_t> whole = parse_decimal(text.substr(0, point));
  if (!whole || *whole > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  const std::string_view fraction = text.substr(std::min(point + 1, text.size()));
  uint32_t nanoseconds = 0;
  uint32_t unit = 100'000'000;  // of the next digit; 0 after the ninth
  for (const char digit : fraction) {
    if (digit < '0' || digit > '9') return std::nullopt;
    nanoseconds += unit * static_cast<uint32_t>(digit - '0');
    unit /= 10;
  }
  const auto seconds = static_cast<int64_t>(*whole);
  if (!negative) return Timestamp{seconds, nanoseconds};
  if (nanoseconds == 0) return Timestamp{-seconds, 0};
  return Timestamp{-seconds - 1, 1'000'000'000 - nanoseconds};
}

Result<std::map<std::string, std::string>> pax_xattrs(const PaxHeader& pax) {
  std::map<std::string, std::string> xattrs;
  const auto& records = pax.records;
  for (auto at = records.lower_bound(kSchilyXattr); at != records.end(); ++at) {
    if (!at->first.starts_with(kSchilyXattr)) break;
    xattrs.emplace(at->first.substr(kSchilyXattr.size()), at->second);
  }
  for (auto at = records.lower_bound(kLibarchiveXattr); at != records.end(); ++at) {
    if (!at->first.starts_with(kLibarchiveXattr)) break;
    std::optional<std::string> name =
        decode_percent(std::string_view(at->first).substr(kLibarchiveXattr.size()));
    std::optional<std::string> value = decode_base64(at->second);
    if (!name || !value) {
      return corrupt("", "its record " + printable(at->first.substr(0, 255)) + " is misencoded");
    }
    xattrs.emplace(std::move(*name), std::move(*value));
  }
  if (xattrs.contains("")) return refused("", "it has an extended attribute without a name");
  return xattrs;
}

}  // namespace seekable::tar
