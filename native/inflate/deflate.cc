#include "inflate/deflate.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "base/cpu.h"

namespace seekable::inflate {

namespace {

// A block's header is shorter: 17 bits, 19 lengths of 3 bits, 316 of up to 14.
constexpr size_t kHeaderBytes = 600;
static_assert(kHeaderBytes <= Feed::kMargin);

constexpr unsigned kSignOfLength = 31 - std::countr_zero(kLength);  // shifted so, the flag is the sign
constexpr size_t kMaxMatch = 258;
constexpr size_t kCopy = 32;
// Symbols are decoded two by two, and at the limits one more if a match is half read. This is what that may
// read and write beyond them, what is loaded ahead and copied too far included.
constexpr size_t kInputSlack = 40;
constexpr size_t kOutputSlack = 3 * kMaxMatch + kCopy;
static_assert(kInputSlack <= Feed::kMargin && kOutputSlack <= Window::kMargin);

enum class Outcome { kLimit, kEndOfBlock, kBadLiteral, kBadDistance, kTooFarBack };

struct Limits {
  const uint8_t* input;
  const uint8_t* output;
};

using Vector = uint8_t __attribute__((vector_size(kCopy)));

[[gnu::always_inline]] inline void copy_vector(uint8_t* to, const uint8_t* from) {
  Vector bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  std::memcpy(to, &bytes, sizeof bytes);
}

// Writes up to kCopy - 1 bytes more than asked for. Inlined it would take registers from the common path.
[[gnu::noinline]] void copy_match(uint8_t* to, const uint8_t* from, size_t length) {
  uint8_t* const end = to + length;
  // Bytes that repeat after some repeat after twice as many, too.
  while (to < end && to - from < static_cast<ptrdiff_t>(sizeof(uint64_t))) {
    const ptrdiff_t distance = to - from;
    store_le(to, load_le<uint64_t>(from));
    to += distance;
  }
  if (to - from < static_cast<ptrdiff_t>(kCopy)) {
    for (; to < end; to += 8, from += 8) store_le(to, load_le<uint64_t>(from));
  } else {
    for (; to < end; to += kCopy, from += kCopy) copy_vector(to, from);
  }
}

// As BitReader, but with the bits kScale further up, above some that mean nothing. That saves a step on the
// way from one entry to the next, which is what the time goes to.
class EntryReader {
 public:
  explicit EntryReader(const BitReader& reader)
      : next_(reader.next), bits_(reader.bits << kScale), filled_(reader.count + kScale) {}
  BitReader finish() const { return {next_, bits_ >> kScale, filled_ - kScale}; }

  const uint8_t* next() const { return next_; }
  // Afterwards there are 54 bits at least.
  void refill() {
    bits_ |= load_le<uint64_t>(next_) << filled_;
    next_ += (63 - filled_) >> 3;
    filled_ |= 56;
  }
  void drop(unsigned width) {
    bits_ >>= width;
    filled_ -= width;
  }
  // What the next `width` bits find in the table at `table`.
  Entry find(const uint8_t* table, unsigned width) const {
    return load_le<Entry>(table + (bits_ & (((uint64_t{1} << width) - 1) << kScale)));
  }
  // Takes it with the extra bits, and adds these.
  uint64_t take_value(Entry entry) {
    const uint64_t bits = bits_ & ((uint64_t{1} << (bits_of(entry) + kScale)) - 1);
    drop(bits_of(entry));
    return value_of(entry) + (bits >> extra_at(entry));
  }

 private:
  const uint8_t* next_;
  uint64_t bits_;
  unsigned filled_;
};

// Whether a literal or a length comes next is hard to foresee, and a branch that went wrong costs as much as
// two symbols. So all symbols take one path: each copies bytes and moves on by so many, a literal from a
// table of all bytes by 1, a length by 0, a distance from the output by the length before it.
class SymbolDecoder {
 public:
  SymbolDecoder(const BitReader& bits, const SymbolTable& table, Window& window)
      : in_(bits),
        table_(reinterpret_cast<const uint8_t*>(table.data())),
        origin_(window.literals()),
        start_(window.start() - origin_),
        out_(window.end() - origin_) {}

  [[gnu::always_inline]] Outcome run(const Limits& limits) {
    const ptrdiff_t limit = limits.output - origin_;
    in_.refill();
    entry_ = in_.find(table_, kSymbolBits);
    while (in_.next() < limits.input && out_ < limit) {
      in_.refill();  // enough for two: 10 bits and 13 extra ones, 10 and 5, and 10 to find the next entry
      if (!step() || !step()) return outcome_;
    }
    if (length_ != 0) {
      in_.refill();
      step();
    }
    return outcome_;
  }

  BitReader bits() const { return in_.finish(); }
  uint8_t* out() const { return origin_ + out_; }

 private:
  // False at the end of the block, and for a fault.
  [[gnu::always_inline]] bool step() {
    if ((entry_ & kSpecial) != 0 && !follow_link()) [[unlikely]]
      return false;
    const Entry entry = entry_;
    const auto value = static_cast<ptrdiff_t>(in_.take_value(entry));
    const uint8_t* next_table = table_ + (entry & kLength);
    asm("" : "+r"(next_table));  // added up before the bits are there, not after
    entry_ = in_.find(next_table, kSymbolBits);

    const ptrdiff_t advance = length_ + literals_of(entry);
    const ptrdiff_t from = (out_ & after_length_) - value;  // from 0 down there are the literals
    after_length_ = static_cast<int32_t>(entry << kSignOfLength) >> 31;
    length_ = value & after_length_;
    if (advance > static_cast<ptrdiff_t>(kCopy)) [[unlikely]] {
      if (!copy_slowly(from, advance)) return false;
    } else if (advance > value || from < start_) [[unlikely]] {
      if (!copy_slowly(from, advance)) return false;
    } else {
      copy_vector(origin_ + out_, origin_ + from);
    }
    out_ += advance;
    return true;
  }

  bool follow_link() {
    in_.drop(bits_of(entry_));
    if (is_link(entry_)) {
      const uint8_t* const table = table_ + (after_length_ & kLength);
      entry_ = in_.find(table + value_of(entry_) * sizeof(Entry), extra_at(entry_));
      in_.refill();
      if ((entry_ & kSpecial) == 0) return true;
      in_.drop(bits_of(entry_));
    }
    outcome_ = (entry_ & kLength) != 0 ? Outcome::kEndOfBlock
               : length_ != 0          ? Outcome::kBadDistance
                                       : Outcome::kBadLiteral;
    return false;
  }

  bool copy_slowly(ptrdiff_t from, ptrdiff_t length) {
    if (from < start_) {
      outcome_ = Outcome::kTooFarBack;
      return false;
    }
    copy_match(origin_ + out_, origin_ + from, static_cast<size_t>(length));
    return true;
  }

  EntryReader in_;
  const uint8_t* const table_;
  uint8_t* const origin_;  // positions are relative to it
  const ptrdiff_t start_;
  ptrdiff_t out_;
  Entry entry_ = 0;             // of the next bits, which aren't dropped yet
  ptrdiff_t after_length_ = 0;  // -1 when the next symbol is a distance, else 0
  ptrdiff_t length_ = 0;        // the length that is its own
  Outcome outcome_ = Outcome::kLimit;
};

[[gnu::always_inline]] inline Outcome decode(BitReader& bits, const SymbolTable& table, Window& window,
                                             const Limits& limits) {
  SymbolDecoder decoder(bits, table, window);
  const Outcome outcome = decoder.run(limits);
  bits = decoder.bits();
  window.add(static_cast<size_t>(decoder.out() - window.end()));
  return outcome;
}

using Decode = Outcome(BitReader& bits, const SymbolTable& table, Window& window, const Limits& limits);

Outcome decode_portable(BitReader& bits, const SymbolTable& table, Window& window, const Limits& limits) {
  return decode(bits, table, window, limits);
}

#if defined(__x86_64__)

[[gnu::target("bmi,bmi2,avx2")]] Outcome decode_avx2(BitReader& bits, const SymbolTable& table,
                                                     Window& window, const Limits& limits) {
  return decode(bits, table, window, limits);
}

#endif

Decode* fastest_decode() {
#if defined(__x86_64__)
  if (cpu().bmi2 && cpu().avx2) return decode_avx2;
#endif
  return decode_portable;
}

}  // namespace

void DeflateDecoder::begin(Window& window) {
  window.forget();
  state_ = State::kBlockHeader;
  last_block_ = false;
  saved_bits_ = saved_count_ = 0;
}

Result<DeflateDecoder::Stop> DeflateDecoder::run(Feed& feed, Window& window) {
  while (!window.full()) {
    const Bytes input = TRY(feed.peek(kHeaderBytes));
    BitReader bits{input.data(), saved_bits_, saved_count_};
    state_ = step(bits, input, !feed.ended(), window);
    bits.return_whole_bytes();
    saved_bits_ = static_cast<uint8_t>(bits.bits);
    saved_count_ = static_cast<uint8_t>(bits.count);
    const auto used = static_cast<size_t>(bits.next - input.data());
    feed.consume(std::min(used, input.size()));
    if (used > input.size()) state_ = fail("it is cut short");
    if (state_ == State::kFault) return Stop::kFault;
    if (state_ == State::kStreamEnd) return Stop::kStreamEnd;
  }
  return Stop::kWindowFull;
}

DeflateDecoder::State DeflateDecoder::fail(const char* fault) {
  fault_ = fault;
  return State::kFault;
}

DeflateDecoder::State DeflateDecoder::step(BitReader& bits, Bytes input, bool more_input, Window& window) {
  switch (state_) {
    case State::kBlockHeader: return read_block_header(bits);
    case State::kStored: return copy_stored(bits, input, window);
    case State::kSymbols: return read_symbols(bits, input, more_input, window);
    case State::kStreamEnd:
    case State::kFault: break;
  }
  return state_;
}

DeflateDecoder::State DeflateDecoder::read_block_header(BitReader& bits) {
  if (last_block_) return State::kStreamEnd;
  bits.refill();
  last_block_ = bits.take(1) != 0;
  switch (bits.take(2)) {
    case 0: return read_stored_length(bits);
    case 1: return use_fixed_codes();
    case 2: return read_codes(bits);
    default: return fail("invalid block type");
  }
}

DeflateDecoder::State DeflateDecoder::read_stored_length(BitReader& bits) {
  bits.drop(bits.count & 7);
  const unsigned length = bits.take(16);
  if ((bits.take(16) ^ length) != 0xffff) return fail("invalid stored block lengths");
  stored_left_ = length;
  return State::kStored;
}

DeflateDecoder::State DeflateDecoder::copy_stored(BitReader& bits, Bytes input, Window& window) {
  if (stored_left_ == 0) return State::kBlockHeader;
  if (input.empty()) return fail("it is cut short");
  const size_t count = std::min({stored_left_, input.size(), window.room()});
  std::memcpy(window.end(), input.data(), count);
  window.add(count);
  bits.next += count;
  stored_left_ -= count;
  return State::kStored;
}

DeflateDecoder::State DeflateDecoder::use_fixed_codes() {
  static constexpr auto kLengths = [] {
    std::array<uint8_t, kMaxLiteralSymbols> lengths{};
    for (size_t symbol = 0; symbol < lengths.size(); ++symbol) {
      lengths[symbol] = symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
    }
    return lengths;
  }();
  static constexpr auto kDistanceLengths = [] {
    std::array<uint8_t, kMaxDistanceSymbols> lengths{};
    lengths.fill(5);
    return lengths;
  }();
  add_literals(kLengths, table_);
  add_distances(kDistanceLengths, table_);
  return State::kSymbols;
}

DeflateDecoder::State DeflateDecoder::read_codes(BitReader& bits) {
  const size_t literals = bits.take(5) + 257;
  const size_t distances = bits.take(5) + 1;
  const size_t code_lengths = bits.take(4) + 4;
  if (literals > 286 || distances > 30) return fail("too many length or distance symbols");
  constexpr uint8_t kOrder[kLengthSymbols] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                              11, 4,  12, 3, 13, 2, 14, 1, 15};
  std::array<uint8_t, kLengthSymbols> of_lengths{};
  for (size_t i = 0; i < code_lengths; ++i) {
    bits.refill();
    of_lengths[kOrder[i]] = static_cast<uint8_t>(bits.take(3));
  }
  LengthTable table;
  if (!make_length_table(of_lengths, table)) return fail("invalid code lengths set");
  if (!read_code_lengths(bits, table, literals + distances)) return fail("invalid bit length repeat");
  const std::span<const uint8_t> lengths(lengths_);
  if (lengths[256] == 0) return fail("invalid code -- missing end-of-block");
  if (!add_literals(lengths.first(literals), table_)) return fail("invalid literal/lengths set");
  if (!add_distances(lengths.subspan(literals, distances), table_)) return fail("invalid distances set");
  return State::kSymbols;
}

bool DeflateDecoder::read_code_lengths(BitReader& bits, const LengthTable& table, size_t count) {
  size_t filled = 0;
  while (filled < count) {
    bits.refill();
    const Entry entry = table[bits.peek(kLengthBits)];
    bits.drop(bits_of(entry));
    const unsigned symbol = value_of(entry);
    if (symbol < 16) {
      lengths_[filled++] = static_cast<uint8_t>(symbol);
      continue;
    }
    if (symbol == 16 && filled == 0) return false;
    const uint8_t repeated = symbol == 16 ? lengths_[filled - 1] : 0;
    const size_t times = symbol == 16   ? 3 + bits.take(2)
                         : symbol == 17 ? 3 + bits.take(3)
                                        : 11 + bits.take(7);
    if (times > count - filled) return false;
    std::fill_n(lengths_.begin() + filled, times, repeated);
    filled += times;
  }
  return true;
}

DeflateDecoder::State DeflateDecoder::read_symbols(BitReader& bits, Bytes input, bool more_input,
                                                   Window& window) {
  static Decode* const fastest = fastest_decode();
  Decode* const decode = portable_ ? decode_portable : fastest;
  const uint8_t* const input_end = input.data() + input.size();
  // The zeros behind the end of the source are decoded as well: at such a limit some of them were consumed.
  const Limits limits{more_input ? input_end - kInputSlack : input_end + sizeof(uint64_t),
                      window.end() + window.room()};
  switch (decode(bits, table_, window, limits)) {
    case Outcome::kLimit: return State::kSymbols;
    case Outcome::kEndOfBlock: return State::kBlockHeader;
    case Outcome::kBadLiteral: return fail("invalid literal/length code");
    case Outcome::kBadDistance: return fail("invalid distance code");
    case Outcome::kTooFarBack: break;
  }
  return fail("invalid distance too far back");
}

}  // namespace seekable::inflate
