// The parser of PAX records on anything: what it keeps can be written and read again, and is never more than
// what it was given.
#include <string>
#include <string_view>

#include "tar/pax.h"
#include "test/fuzz/require.h"
#include "test/tar_builder.h"

namespace seekable {
namespace {

using fuzz::require;
using fuzz::require_clean;

void check_records(const tar::PaxHeader& pax, size_t text_size) {
  std::string written;
  for (const auto& [key, value] : pax.records) {
    require(!key.empty() && key.find('=') == std::string::npos && key.find('\0') == std::string::npos);
    written += test::TarBuilder::pax_record(key, value);
  }
  require(pax.records.empty() || !pax.only_comments);
  // Collected sparse pairs lose their keys, so they never take more room either.
  require(written.size() <= text_size);
  const Result<tar::PaxHeader> again = tar::parse_pax(written);
  require(again.ok() && again.value().records == pax.records);
}

void check_values(const tar::PaxHeader& pax) {
  for (const auto& [key, value] : pax.records) {
    require((pax.find(key) == nullptr) == value.empty());
    require(pax.has_prefix(key));
    const std::optional<uint64_t> number = tar::parse_decimal(value);
    const std::optional<tar::Timestamp> time = tar::parse_pax_time(value);
    if (time) require(time->nanoseconds < 1'000'000'000);
    if (number && *number <= INT64_MAX) require(time && time->seconds == static_cast<int64_t>(*number));
  }
}

void check_xattrs(const tar::PaxHeader& pax) {
  const Result<std::map<std::string, std::string>> xattrs = tar::pax_xattrs(pax);
  if (!xattrs.ok()) return require_clean(xattrs.error());
  require(xattrs.value().size() <= pax.records.size());
  for (const auto& [name, value] : xattrs.value()) {
    require(!name.empty() && name.find('\0') == std::string::npos);
  }
}

}  // namespace
}  // namespace seekable

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seekable;
  const Result<tar::PaxHeader> pax = tar::parse_pax({reinterpret_cast<const char*>(data), size});
  if (!pax.ok()) {
    require_clean(pax.error());
    return 0;
  }
  check_records(pax.value(), size);
  check_values(pax.value());
  check_xattrs(pax.value());
  return 0;
}
