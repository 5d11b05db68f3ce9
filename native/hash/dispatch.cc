// Chooses the kernels for the CPU that the program finds itself on.
#include <cstdlib>

#include "base/cpu.h"
#include "hash/kernels.h"
#include "hash/sha2.h"

namespace seekable::hash {

namespace {

#if defined(__x86_64__)

void add_kernels(std::string_view set, Kernels& kernels) {
  const bool any = set.empty();
  const bool avx512 = (any || set == "avx512") && cpu().avx512f && cpu().avx512bw;
  const bool avx2 = (any || set == "avx2") && cpu().avx2;
  const bool sha = (any || set == "sha-ni") && cpu().sha_ni && cpu().sse41;
  if (avx512) {
    kernels.sha512.add({"avx512", 8, 2, compress_sha512_avx512});
  } else if (avx2) {
    kernels.sha512.add({"avx2", 4, 2, compress_sha512_avx2});
  }
  if (avx512) kernels.sha256.add({"avx512", 16, sha ? size_t{8} : 2, compress_sha256_avx512});
  if (sha) {
    kernels.sha256.add({"sha-ni", 2, 2, compress_sha256_shani_pair});
    kernels.sha256.add({"sha-ni", 1, 1, compress_sha256_shani});
    kernels.sha256_pair = compress_sha256_shani_pair;
  }
}

#elif defined(__aarch64__)

// Where ARMv8.2's instructions are missing, two lanes of NEON, which can't rotate, are no faster than plain
// C++.
void add_kernels(std::string_view set, Kernels& kernels) {
  const bool any = set.empty();
  if ((any || set == "sha512") && cpu().sha512) {
    kernels.sha512.add({"sha512", 2, 2, compress_sha512_armv8_pair});
    kernels.sha512.add({"sha512", 1, 1, compress_sha512_armv8});
  }
  if ((any || set == "sha2") && cpu().sha2) {
    kernels.sha256.add({"sha2", 2, 2, compress_sha256_armv8_pair});
    kernels.sha256.add({"sha2", 1, 1, compress_sha256_armv8});
    kernels.sha256_pair = compress_sha256_armv8_pair;
  }
}

#else

void add_kernels(std::string_view, Kernels&) {}

#endif

Kernels& chosen() {
  static Kernels kernels = [] {
    const char* set = std::getenv("SEEKABLE_EROFS_HASH");
    return kernels_for(set == nullptr ? "" : set);
  }();
  return kernels;
}

}  // namespace

Kernels kernels_for(std::string_view instruction_set) {
  Kernels kernels;
  add_kernels(instruction_set, kernels);
  if (!kernels.sha512.has_single()) kernels.sha512.add({"portable", 1, 1, compress_sha512_portable});
  if (!kernels.sha256.has_single()) kernels.sha256.add({"portable", 1, 1, compress_sha256_portable});
  return kernels;
}

const Kernels& kernels() { return chosen(); }

void use_instruction_set(std::string_view instruction_set) { chosen() = kernels_for(instruction_set); }

Level level() {
  const Kernels& now = kernels();
  return {now.sha512.widest().name, now.sha256.widest().name, now.sha256.single().name};
}

}  // namespace seekable::hash
