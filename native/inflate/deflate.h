// DEFLATE (RFC 1951), without any framing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "inflate/bit_reader.h"
#include "inflate/feed.h"
#include "inflate/huffman.h"
#include "inflate/window.h"

namespace seekable::inflate {

class DeflateDecoder {
 public:
  enum class Stop { kWindowFull, kStreamEnd, kFault };

  // `portable`: for tests, without what the CPU has beyond its architecture.
  explicit DeflateDecoder(bool portable = false) : portable_(portable) {}

  // A new stream follows; what earlier ones left in the window is no history of it.
  void begin(Window& window);

  // Decodes until the window is full, to go on with the next call, or the stream ends: then the feed is
  // behind its last byte. Fails only when the feed does. No run follows a fault before the next begin().
  Result<Stop> run(Feed& feed, Window& window);

  // Why the last run() ended with kFault.
  const char* fault() const { return fault_; }

 private:
  enum class State : uint8_t { kBlockHeader, kStored, kSymbols, kStreamEnd, kFault };

  // These decode what the state says, at the start of `input`, and give the state that follows.
  State step(BitReader& bits, Bytes input, bool more_input, Window& window);
  State read_block_header(BitReader& bits);
  State read_stored_length(BitReader& bits);
  State copy_stored(BitReader& bits, Bytes input, Window& window);
  State use_fixed_codes();
  State read_codes(BitReader& bits);
  bool read_code_lengths(BitReader& bits, const LengthTable& table, size_t count);
  State read_symbols(BitReader& bits, Bytes input, bool more_input, Window& window);
  State fail(const char* fault);

  bool portable_;
  State state_ = State::kBlockHeader;
  bool last_block_ = false;
  uint8_t saved_bits_ = 0;  // of the byte that is partly decoded
  uint8_t saved_count_ = 0;
  size_t stored_left_ = 0;
  const char* fault_ = nullptr;
  std::array<uint8_t, kMaxLiteralSymbols + kMaxDistanceSymbols> lengths_{};
  SymbolTable table_{};
};

}  // namespace seekable::inflate
