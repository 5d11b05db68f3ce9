#include "fuse/signals.h"

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>

namespace seekable::fuse {

namespace {

constexpr uint64_t bit(int signal) { return uint64_t{1} << (signal - 1); }

// What ends no process by default.
constexpr uint64_t kHarmless = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) |
                               bit(SIGTTOU) | bit(SIGURG) | bit(SIGWINCH);

}  // namespace

bool is_dying(uint32_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  uint64_t pending = 0;
  uint64_t handled = kHarmless;
  for (std::string line; std::getline(status, line);) {
    const std::string name = line.substr(0, line.find(':'));
    const bool is_pending = name == "SigPnd" || name == "ShdPnd";
    if (!is_pending && name != "SigBlk" && name != "SigIgn" && name != "SigCgt") continue;
    (is_pending ? pending : handled) |= std::strtoull(line.c_str() + name.size() + 1, nullptr, 16);
  }
  return (pending & ~handled) != 0;
}

}  // namespace seekable::fuse
