// Chooses the kernels for the CPU that the program finds itself on.
#include <cstdlib>

#include "hash/kernels.h"
#include "hash/sha2.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace seekable::hash {

namespace {

#if defined(__x86_64__)

// gcc 12 can't ask for "sha" by name. The instructions use registers that every x86-64 system saves.
bool cpu_has_sha() {
  constexpr unsigned kShaBit = 1u << 29;
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kShaBit) != 0 &&
         __builtin_cpu_supports("sse4.1");
}

void add_x86_kernels(std::string_view set, Kernels& kernels) {
  const bool any = set.empty();
  const bool avx512 =
      (any || set == "avx512") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
  const bool avx2 = (any || set == "avx2") && __builtin_cpu_supports("avx2");
  const bool sha = (any || set == "sha-ni") && cpu_has_sha();
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

#endif

Kernels& chosen() {
  static Kernels kernels = [] {
    const char* set = std::getenv("SEEKABLE_EROFS_HASH");
    return kernels_for(set == nullptr ? "" : set);
  }();
  return kernels;
}

}  // namespace

Kernels kernels_for([[maybe_unused]] std::string_view instruction_set) {
  Kernels kernels;
#if defined(__x86_64__)
  add_x86_kernels(instruction_set, kernels);
#endif
  kernels.sha512.add({"portable", 1, 1, compress_sha512_portable});
  if (kernels.sha256_pair == nullptr) kernels.sha256.add({"portable", 1, 1, compress_sha256_portable});
  return kernels;
}

const Kernels& kernels() { return chosen(); }

void use_instruction_set(std::string_view instruction_set) { chosen() = kernels_for(instruction_set); }

Level level() {
  const Kernels& now = kernels();
  return {now.sha512.widest().name, now.sha256.widest().name, now.sha256.single().name};
}

}  // namespace seekable::hash
