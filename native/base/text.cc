#include "base/text.h"

namespace seekable {

std::string printable(std::string_view raw) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(raw.size());
  for (const char character : raw) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte < 0x7f && byte != '\\') {
      text += character;
      continue;
    }
    text += "\\x";
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

}  // namespace seekable
