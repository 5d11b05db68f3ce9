// The inflaters on anything: no crash, and each byte of the input shown exactly once.
#include <cstdlib>
#include <vector>

#include "inflate/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace seekable;
  const MemorySource source({data, size});
  const inflate::Compression compression = inflate::detect({data, size});
  if (compression == inflate::Compression::kNone) return 0;
  size_t seen = 0;
  auto inflater = inflate::Inflater::open(source, compression, [&](Bytes bytes) { seen += bytes.size(); });
  if (!inflater.ok()) std::abort();
  std::vector<uint8_t> out(size % 7 == 0 ? 61 : 65536);  // odd steps too
  for (int step = 0; step < 256; ++step) {               // a bomb need not be followed to its end
    const Result<size_t> count = inflater.value()->read(out);
    if (!count.ok() && count.error().code == ErrorCode::kCorrupt) return 0;
    if (!count.ok() && count.error().code == ErrorCode::kUnsupported) return 0;
    if (!count.ok() || count.value() > out.size()) std::abort();
    if (count.value() > 0) continue;
    if (seen != size) std::abort();
    return 0;
  }
  return 0;
}
