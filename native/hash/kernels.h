// What the instruction sets have in common: each has functions that compress messages of one length in step.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace seekable::hash {

// Runs the compression function over `chunks` chunks (of 16 words) of as many messages as the kernel has
// lanes. Word j of the state of message i is state[j * lanes + i], in native byte order; messages[i] needs no
// alignment.
template <typename Word>
using Compress = void(Word* state, const uint8_t* const* messages, size_t chunks);

Compress<uint64_t> compress_sha512_portable;  // 1 lane
Compress<uint32_t> compress_sha256_portable;  // 1 lane
#if defined(__x86_64__)
Compress<uint64_t> compress_sha512_avx2;        // 4 lanes
Compress<uint64_t> compress_sha512_avx512;      // 8 lanes
Compress<uint32_t> compress_sha256_avx512;      // 16 lanes
Compress<uint32_t> compress_sha256_shani;       // 1 lane
Compress<uint32_t> compress_sha256_shani_pair;  // 2 lanes
#elif defined(__aarch64__)
Compress<uint64_t> compress_sha512_armv8;       // 1 lane
Compress<uint64_t> compress_sha512_armv8_pair;  // 2 lanes
Compress<uint32_t> compress_sha256_armv8;       // 1 lane
Compress<uint32_t> compress_sha256_armv8_pair;  // 2 lanes
#endif

constexpr size_t kMaxLanes = 16;

template <typename Word>
struct Kernel {
  const char* name;
  size_t lanes;
  size_t least;  // with fewer messages than this, the next kernel of the list is faster
  Compress<Word>* compress;
};

// Kernels for one algorithm, widest first. The last has one lane and takes any number of messages.
template <typename Word>
class KernelList {
 public:
  void add(const Kernel<Word>& kernel) { kernels_[size_++] = kernel; }
  const Kernel<Word>& widest() const { return kernels_[0]; }
  bool has_single() const { return size_ > 0 && single().lanes == 1; }
  const Kernel<Word>& single() const { return kernels_[size_ - 1]; }
  // REQUIRES: messages > 0.
  const Kernel<Word>& best_for(size_t messages) const {
    size_t i = 0;
    while (kernels_[i].least > messages) ++i;
    return kernels_[i];
  }

 private:
  std::array<Kernel<Word>, 3> kernels_{};
  size_t size_ = 0;
};

struct Kernels {
  KernelList<uint64_t> sha512;
  KernelList<uint32_t> sha256;
  Compress<uint32_t>* sha256_pair =
      nullptr;  // null where two messages in step cost as much as one after the other
};

// The kernels of one instruction set, "avx2", "avx512" or "sha-ni", on AArch64 "sha2" or "sha512", and plain
// C++ where it has none; "" means the best of all. What this CPU lacks is left out, and so is a name that
// nobody knows, like "portable".
Kernels kernels_for(std::string_view instruction_set);

// kernels_for() the environment variable SEEKABLE_EROFS_HASH, until use_instruction_set().
const Kernels& kernels();

// For tests, which compare every instruction set in one process. REQUIRES: no other thread hashes meanwhile.
void use_instruction_set(std::string_view instruction_set);

}  // namespace seekable::hash
