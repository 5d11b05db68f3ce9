// SHA-1 and the version-5 UUID that is made of it. For names only, never for integrity.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace seekable::hash {

// RFC 9562 UUID, version 5, in the URL namespace, raw bytes in text order.
std::array<uint8_t, 16> uuid5_url(std::string_view name);

}  // namespace seekable::hash
