// A small stand-in for libFuzzer where its runtime isn't installed: mutates the seed files, keeps inputs that
// reach new code, and leaves the input of a crash in ./crash-input. For gcc; compile what is tested, but not
// this file, with -fsanitize-coverage=trace-pc.
//   mutate SECONDS SEED-FILE...
#include <algorithm>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

std::bitset<1 << 20> seen;
bool reached_new_code = false;
std::mt19937 random_bits(1);  // always the same run

size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random_bits); }

void mutate(std::string& bytes, const std::vector<std::string>& corpus) {
  static constexpr char kTelling[] = {'\0', '\n',   ' ',    '=',    ',', '-', '0',
                                      '9',  '\x7f', '\x80', '\xff', 'x', 'L', 'S'};
  if (bytes.empty()) bytes = std::string(1, '\0');
  const size_t at = below(bytes.size());
  const std::string& other = corpus[below(corpus.size())];
  switch (below(7)) {
    case 0: bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8))); break;
    case 1: bytes[at] = kTelling[below(sizeof kTelling)]; break;
    case 2: bytes[at] = static_cast<char>(bytes[at] + below(7) - 3); break;
    case 3: bytes.erase(at, 1 + below(8)); break;
    case 4: bytes.insert(at, 1 + below(8), kTelling[below(sizeof kTelling)]); break;
    case 5: bytes.resize(at / 512 * 512); break;
    case 6: {  // whole blocks of another input
      const size_t from = below(other.size() / 512 + 1) * 512;
      bytes.insert(at / 512 * 512, other, from, 512 * (1 + below(4)));
      break;
    }
  }
  if (bytes.size() > 1 << 16) bytes.resize(1 << 16);
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  const size_t place = reinterpret_cast<uintptr_t>(__builtin_return_address(0)) % seen.size();
  if (seen[place]) return;
  seen[place] = true;
  reached_new_code = true;
}

int main(int count, char** arguments) {
  if (count < 3) return std::fprintf(stderr, "usage: mutate SECONDS SEED-FILE...\n"), 2;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::stoi(arguments[1]));
  std::vector<std::string> corpus;
  for (int i = 2; i < count; ++i) {
    std::ifstream stream(arguments[i], std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  size_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    std::string input = corpus[below(corpus.size())];
    if (runs < corpus.size())
      input = corpus[runs];
    else
      for (size_t changes = 1 + below(6); changes > 0; --changes) mutate(input, corpus);
    std::ofstream("crash-input", std::ios::binary) << input;
    reached_new_code = false;
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    if (reached_new_code) corpus.push_back(std::move(input));
  }
  std::remove("crash-input");
  std::printf("%zu runs, %zu inputs in the corpus, %zu places reached\n", runs, corpus.size(), seen.count());
}
