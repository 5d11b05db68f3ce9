// Decoding tables for the prefix codes of DEFLATE (RFC 1951, 3.2).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace seekable::inflate {

// What the next bits of the input mean, in one word:
//   bits 0–5    how many bits it takes, the extra bits of a length or distance included
//   bits 6–7    kLiteral, kSpecial
//   bits 8–13   kScale, and the length of the code by itself, behind which the extra bits begin
//   bits 14–15  kLength, kLink
//   bits 16–31  value, to which the extra bits are added; of a literal its byte, and 1
using Entry = uint32_t;

// A decoder has the input as many bits further up as the size of an entry wants, so that bits with others
// masked away are an offset in a table.
constexpr unsigned kScale = 2;
static_assert(sizeof(Entry) == 1 << kScale);

constexpr Entry kLiteral = 1u << 6;
constexpr Entry kLength = 1u << 14;
constexpr Entry kSpecial = 1u << 7;  // none of literal, length and distance
constexpr Entry kInvalid = kSpecial;
constexpr Entry kEndOfBlock = kSpecial | kLength;
// A second table begins at `value`. Its entries are found by as many bits as bits 8–13 say, and are for what
// is left of the code.
constexpr Entry kLink = kSpecial | 1u << 15;

constexpr unsigned bits_of(Entry entry) { return entry & 63; }
constexpr unsigned literals_of(Entry entry) { return (entry >> 6) & 1; }
constexpr unsigned extra_at(Entry entry) { return (entry >> 8) & 63; }
constexpr unsigned value_of(Entry entry) { return entry >> 16; }
constexpr bool is_link(Entry entry) { return (entry & kLink) == kLink; }

constexpr unsigned kMaxCodeLength = 15;
constexpr size_t kMaxLiteralSymbols = 288;  // 286 and 287 are part of the fixed code only, and invalid
constexpr size_t kMaxDistanceSymbols = 32;  // 30 and 31 likewise
constexpr size_t kLengthSymbols = 19;

// So many bits of the input find an entry of a first table.
constexpr unsigned kSymbolBits = 10;
constexpr unsigned kLengthBits = 7;

// Literals, lengths and the end of a block, and their second tables; kDistancesAt behind the start distances,
// and theirs. As the flag of a length is the offset of what follows one in bytes, an entry says by itself
// where the next one is found.
constexpr size_t kDistancesAt = kLength / sizeof(Entry);
constexpr size_t kFirstTable = size_t{1} << kSymbolBits;
// A code with second tables is complete, so that one of 2^n entries is for n + 1 symbols or more.
constexpr size_t second_tables(size_t symbols) {
  constexpr size_t kDepth = kMaxCodeLength - kSymbolBits;
  return symbols * (size_t{1} << kDepth) / (kDepth + 1);
}
static_assert(kFirstTable + second_tables(kMaxLiteralSymbols) <= kDistancesAt);
using SymbolTable = std::array<Entry, kDistancesAt + kFirstTable + second_tables(kMaxDistanceSymbols)>;
using LengthTable = std::array<Entry, size_t{1} << kLengthBits>;

// Each fills its part of a table from the code length of every symbol (0: it is unused); false for lengths
// that are no prefix code, or an incomplete one. As in zlib a code of one symbol, one bit long, or of none
// passes, and what isn't that symbol is kInvalid. REQUIRES: no more lengths than symbols, none above 15.
bool add_literals(std::span<const uint8_t> lengths, SymbolTable& table);
bool add_distances(std::span<const uint8_t> lengths, SymbolTable& table);
// For the code that the lengths of the other two come in: its symbols are values, and it has to be complete.
bool make_length_table(std::span<const uint8_t> lengths, LengthTable& table);

}  // namespace seekable::inflate
