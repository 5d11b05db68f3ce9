// Which instructions this CPU has and its system lets programs use. Compilers have builtins for the question,
// but those take their answers from a part of libgcc that clang's own runtime may lack.
#pragma once

namespace seekable {

// All false on architectures other than that of the name.
struct CpuFeatures {
  // x86-64. What needs wider registers is there only where the system saves those.
  bool sse41 = false, pclmul = false, bmi2 = false, avx2 = false, sha_ni = false;
  bool avx512f = false, avx512bw = false, vpclmulqdq = false;
  // AArch64: carry-less multiplication, SHA-256, and of ARMv8.2 SHA-512.
  bool pmull = false, sha2 = false, sha512 = false;
};

const CpuFeatures& cpu();

}  // namespace seekable
