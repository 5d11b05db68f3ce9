#include "erofs/xattr.h"

#include <algorithm>

#include "base/checked.h"
#include "erofs/format.h"

namespace seekable::erofs {

namespace {

// Sharing pays for labels and ACLs; long values are hardly ever equal, and the root inode comes after the
// area: its number has 16 bits.
constexpr uint64_t kMaxSharedEntry = 1024;
constexpr uint64_t kMaxSharedArea = 64 << 10;

struct Prefix {
  uint8_t index;
  std::string_view text;
  bool whole;  // the prefix is the entire name
};
constexpr Prefix kPrefixes[] = {
    {1, "user.", false},
    {2, "system.posix_acl_access", true},
    {3, "system.posix_acl_default", true},
    {4, "trusted.", false},
    {6, "security.", false},
};

const Prefix* prefix_of(std::string_view name) {
  for (const Prefix& prefix : kPrefixes) {
    const bool fits = prefix.whole ? name == prefix.text
                                   : name.starts_with(prefix.text) && name.size() > prefix.text.size();
    if (fits) return &prefix;
  }
  return nullptr;
}

// REQUIRES: has_xattr_form(name).
uint64_t entry_size(std::string_view name, std::string_view value) {
  return round_up(sizeof(XattrEntry) + name.size() - prefix_of(name)->text.size() + value.size(), kXattrUnit);
}

void append(std::vector<uint8_t>& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

// REQUIRES: has_xattr_form(name), and lengths within the entry's fields.
void append_entry(std::vector<uint8_t>& out, std::string_view name, std::string_view value) {
  const Prefix* prefix = prefix_of(name);
  const std::string_view rest = name.substr(prefix->text.size());
  const XattrEntry entry{static_cast<uint8_t>(rest.size()), prefix->index,
                         static_cast<uint16_t>(value.size())};
  const size_t end = out.size() + entry_size(name, value);
  append(out, {reinterpret_cast<const uint8_t*>(&entry), sizeof entry});
  append(out, as_bytes(rest));
  append(out, as_bytes(value));
  out.resize(end);
}

std::optional<std::string> fault_of(std::string_view name, std::string_view value) {
  const std::string attribute = "extended attribute " + std::string(name);
  const Prefix* prefix = prefix_of(name);
  if (prefix == nullptr) return attribute + " is in a namespace that EROFS has no form for";
  const size_t rest = name.size() - prefix->text.size();
  if (rest > 0xFF) {
    return attribute + " has " + std::to_string(rest) + " bytes after its prefix, EROFS holds 255";
  }
  if (value.size() > kMaxXattrValue) {
    return attribute + " has " + std::to_string(value.size()) + " bytes, EROFS holds " +
           std::to_string(kMaxXattrValue);
  }
  return std::nullopt;
}

}  // namespace

bool has_xattr_form(std::string_view name) { return prefix_of(name) != nullptr; }

size_t SharedXattrs::PairHash::operator()(const Pair& pair) const {
  const std::hash<std::string_view> hash;
  return hash(pair.name) * 31 + hash(pair.value);
}

void SharedXattrs::count(const Xattrs& xattrs) {
  for (const auto& [name, value] : xattrs) {
    if (has_xattr_form(name) && entry_size(name, value) <= kMaxSharedEntry) ++uses_[{name, value}];
  }
}

void SharedXattrs::choose(uint64_t offset) {
  std::vector<std::pair<uint32_t, Pair>> worthwhile;
  for (const auto& [pair, uses] : uses_) {
    const uint64_t size = entry_size(pair.name, pair.value);
    if (uses * size > size + uses * kSharedIdSize) worthwhile.emplace_back(uses, pair);
  }
  uses_ = {};
  std::sort(worthwhile.begin(), worthwhile.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  for (const auto& [uses, pair] : worthwhile) {
    if (area_.size() + entry_size(pair.name, pair.value) > kMaxSharedArea) break;
    ids_[pair] = static_cast<uint32_t>((offset + area_.size()) / kXattrUnit);
    append_entry(area_, pair.name, pair.value);
  }
}

std::optional<uint32_t> SharedXattrs::id_of(std::string_view name, std::string_view value) const {
  if (ids_.empty() || value.size() > kMaxSharedEntry) return std::nullopt;
  const auto found = ids_.find({name, value});
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

Result<uint32_t> xattr_body_size(const Xattrs& xattrs, const SharedXattrs& shared) {
  if (xattrs.empty()) return 0U;
  uint64_t size = sizeof(XattrHeader);
  size_t shared_ids = 0;
  for (const auto& [name, value] : xattrs) {
    if (auto fault = fault_of(name, value)) return unsupported({}, *fault);
    const bool by_id = shared_ids < kMaxSharedIds && shared.id_of(name, value);
    shared_ids += by_id;
    size += by_id ? kSharedIdSize : entry_size(name, value);
  }
  if (size > kMaxXattrBody) {
    return unsupported({}, "its extended attributes need " + std::to_string(size) + " bytes, EROFS holds " +
                               std::to_string(kMaxXattrBody) + " per inode");
  }
  return static_cast<uint32_t>(size);
}

std::vector<uint8_t> xattr_body(const Xattrs& xattrs, const SharedXattrs& shared, uint32_t size) {
  XattrHeader header{};
  std::vector<uint8_t> body;
  std::vector<Xattrs::const_iterator> own;  // entries, which follow all ids
  body.reserve(size);
  body.resize(sizeof header);
  for (auto attribute = xattrs.begin(); attribute != xattrs.end(); ++attribute) {
    const auto id = header.shared_count < kMaxSharedIds ? shared.id_of(attribute->first, attribute->second)
                                                        : std::nullopt;
    if (!id) {
      own.push_back(attribute);
      continue;
    }
    ++header.shared_count;
    append(body, {reinterpret_cast<const uint8_t*>(&*id), kSharedIdSize});
  }
  for (const auto& attribute : own) append_entry(body, attribute->first, attribute->second);
  std::memcpy(body.data(), &header, sizeof header);
  return body;
}

}  // namespace seekable::erofs
