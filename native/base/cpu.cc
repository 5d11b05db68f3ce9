#include "base/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace seekable {

namespace {

#if defined(__x86_64__)

struct Registers {
  unsigned a = 0, b = 0, c = 0, d = 0;
};

// All bits are clear of a leaf that the CPU does not have.
Registers cpuid(unsigned leaf) {
  Registers r;
  if (__get_cpuid_count(leaf, 0, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

// Register state that the system saves (XCR0). REQUIRES: the OSXSAVE bit of leaf 1.
unsigned saved_state() {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

constexpr bool bit(unsigned bits, unsigned number) { return (bits >> number & 1) != 0; }

CpuFeatures detect() {
  constexpr unsigned kAvxState = 0x06, kAvx512State = 0xe6;
  const Registers basic = cpuid(1), extended = cpuid(7);
  const unsigned saved = bit(basic.c, 27) ? saved_state() : 0;
  const bool avx = (saved & kAvxState) == kAvxState && bit(basic.c, 28);
  const bool avx512 = avx && (saved & kAvx512State) == kAvx512State;
  CpuFeatures features;
  features.pclmul = bit(basic.c, 1);
  features.sse41 = bit(basic.c, 19);
  features.bmi2 = bit(extended.b, 3) && bit(extended.b, 8);
  features.avx2 = avx && bit(extended.b, 5);
  features.sha_ni = bit(extended.b, 29);
  features.avx512f = avx512 && bit(extended.b, 16);
  features.avx512bw = avx512 && bit(extended.b, 30);
  features.vpclmulqdq = avx && bit(extended.c, 10);
  return features;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  const unsigned long capabilities = getauxval(AT_HWCAP);
  CpuFeatures features;
  features.pmull = (capabilities & HWCAP_PMULL) != 0;
  features.sha2 = (capabilities & HWCAP_SHA2) != 0;
  features.sha512 = (capabilities & HWCAP_SHA512) != 0;
  return features;
}

#else

CpuFeatures detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& cpu() {
  static const CpuFeatures features = detect();
  return features;
}

}  // namespace seekable
