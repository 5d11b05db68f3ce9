#include "inflate/huffman.h"

#include <algorithm>
#include <bit>

namespace seekable::inflate {

namespace {

constexpr Entry entry_of_value(unsigned value, unsigned extra_bits) { return (value << 16) | extra_bits; }

constexpr auto kLiteralAlphabet = [] {
  std::array<Entry, kMaxLiteralSymbols> entries{};
  for (unsigned byte = 0; byte < 256; ++byte) entries[byte] = entry_of_value(byte + 1, 0) | kLiteral;
  entries[256] = kEndOfBlock;
  unsigned length = 3;
  for (unsigned symbol = 257; symbol < 285; ++symbol) {
    const unsigned extra_bits = symbol < 265 ? 0 : (symbol - 261) / 4;
    entries[symbol] = entry_of_value(length, extra_bits) | kLength;
    length += 1u << extra_bits;
  }
  entries[285] = entry_of_value(258, 0) | kLength;
  entries[286] = entries[287] = kInvalid;
  return entries;
}();

constexpr auto kDistanceAlphabet = [] {
  std::array<Entry, kMaxDistanceSymbols> entries{};
  unsigned distance = 1;
  for (unsigned symbol = 0; symbol < 30; ++symbol) {
    const unsigned extra_bits = symbol < 2 ? 0 : symbol / 2 - 1;
    entries[symbol] = entry_of_value(distance, extra_bits);
    distance += 1u << extra_bits;
  }
  entries[30] = entries[31] = kInvalid;
  return entries;
}();

constexpr auto kLengthAlphabet = [] {
  std::array<Entry, kLengthSymbols> entries{};
  for (unsigned symbol = 0; symbol < kLengthSymbols; ++symbol) entries[symbol] = entry_of_value(symbol, 0);
  return entries;
}();

// For a code of `length` bits, of which those that led to a second table don't count.
constexpr Entry with_code_length(Entry symbol, unsigned length) {
  return symbol + length + ((length + kScale) << 8);
}

// The codes of a prefix code in order, which is by length, then by symbol. Each is kept in the order in which
// its bits come, first bit lowest.
struct Codes {
  std::array<uint16_t, kMaxCodeLength + 1> count{};  // codes of each length
  std::array<uint16_t, kMaxLiteralSymbols> symbols;  // those that are used, in order
  unsigned longest = 0;
  bool complete = false;
};

// False if there are more codes than fit.
bool sort_codes(std::span<const uint8_t> lengths, Codes& codes) {
  for (const uint8_t length : lengths) ++codes.count[length];
  codes.count[0] = 0;
  std::array<uint16_t, kMaxCodeLength + 2> next{};
  int room = 1;
  for (unsigned length = 1; length <= kMaxCodeLength; ++length) {
    room = 2 * room - codes.count[length];
    if (room < 0) return false;
    if (codes.count[length] != 0) codes.longest = length;
    next[length + 1] = static_cast<uint16_t>(next[length] + codes.count[length]);
  }
  codes.complete = room == 0;
  for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
    if (lengths[symbol] != 0) codes.symbols[next[lengths[symbol]]++] = static_cast<uint16_t>(symbol);
  }
  return true;
}

// The code after `code`, both of `length` bits with the first lowest. The last one has none: gives itself.
unsigned next_code(unsigned code, unsigned length) {
  const unsigned zeros = ~code & ((1u << length) - 1);
  if (zeros == 0) return code;
  const unsigned carry = std::bit_floor(zeros);
  return (code & (carry - 1)) | carry;
}

// How many bits index the second table that begins with a code of `length` bits.
unsigned bits_of_second(const Codes& left, unsigned length, unsigned first_bits) {
  int room = 1 << (length - first_bits);
  while (length < left.longest && (room -= left.count[length]) > 0) {
    ++length;
    room *= 2;
  }
  return length - first_bits;
}

// Second tables, for what is left of the codes. `code` is the first of them.
void fill_second_tables(Codes& left, const uint16_t* symbol, unsigned code, std::span<const Entry> alphabet,
                        unsigned first_bits, Entry* table) {
  const unsigned mask = (1u << first_bits) - 1;
  unsigned end = 1u << first_bits;  // of the tables so far
  unsigned prefix = ~0u, start = 0, bits = 0;
  for (unsigned length = first_bits + 1; length <= left.longest; ++length) {
    while (left.count[length] > 0) {
      if ((code & mask) != prefix) {
        prefix = code & mask;
        bits = bits_of_second(left, length, first_bits);
        start = end;
        end += 1u << bits;
        table[prefix] = entry_of_value(start, first_bits) | kLink | (bits << 8);
      }
      const Entry entry = with_code_length(alphabet[*symbol++], length - first_bits);
      for (unsigned at = code >> first_bits; at < 1u << bits; at += 1u << (length - first_bits)) {
        table[start + at] = entry;
      }
      code = next_code(code, length);
      --left.count[length];
    }
  }
}

// First the 2^1 entries that are found by one bit, then the 2^2 by two: those before, twice, and the codes of
// that length over them.
void fill_tables(Codes& codes, std::span<const Entry> alphabet, unsigned first_bits, Entry* table) {
  const uint16_t* symbol = codes.symbols.data();
  unsigned code = 0;
  for (unsigned length = 1; length <= first_bits; ++length) {
    const size_t before = size_t{1} << (length - 1);
    std::copy_n(table, before, table + before);
    for (unsigned i = 0; i < codes.count[length]; ++i) {
      table[code] = with_code_length(alphabet[*symbol++], length);
      code = next_code(code, length);
    }
  }
  fill_second_tables(codes, symbol, code, alphabet, first_bits, table);
}

bool make_tables(std::span<const uint8_t> lengths, std::span<const Entry> alphabet, unsigned first_bits,
                 Entry* table) {
  Codes codes;
  if (!sort_codes(lengths, codes)) return false;
  if (codes.complete) {
    fill_tables(codes, alphabet, first_bits, table);
    return true;
  }
  if (codes.longest > 1) return false;
  std::fill_n(table, size_t{1} << first_bits, kInvalid | 1);
  if (codes.longest == 0) return true;
  for (size_t at = 0; at < size_t{1} << first_bits; at += 2) {
    table[at] = with_code_length(alphabet[codes.symbols[0]], 1);
  }
  return true;
}

}  // namespace

bool add_literals(std::span<const uint8_t> lengths, SymbolTable& table) {
  return make_tables(lengths, kLiteralAlphabet, kSymbolBits, table.data());
}

bool add_distances(std::span<const uint8_t> lengths, SymbolTable& table) {
  return make_tables(lengths, kDistanceAlphabet, kSymbolBits, table.data() + kDistancesAt);
}

bool make_length_table(std::span<const uint8_t> lengths, LengthTable& table) {
  // What an incomplete code leaves over is behind a one, its only code being 0.
  return make_tables(lengths, kLengthAlphabet, kLengthBits, table.data()) && (table[1] & kSpecial) == 0;
}

}  // namespace seekable::inflate
