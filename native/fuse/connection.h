// One end of a FUSE connection: requests come from the kernel, answers and notices go to it. May be used by
// several threads at once, each with a buffer of its own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"
#include "fuse/protocol.h"

namespace seekable::fuse {

// What the kernel asks. `body` follows the header.
struct Request {
  InHeader header;
  Bytes body;

  uint64_t unique() const { return header.unique; }
  uint64_t node() const { return header.node; }

  // The body's first bytes as a struct; zeros where an older kernel sends less.
  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(sizeof value, body.size()));
    return value;
  }
};

class Connection {
 public:
  // What receive() needs: above the size of any request for a folder that can't be written.
  static constexpr size_t kRequestSize = size_t{64} << 10;

  // `device` is /dev/fuse.
  explicit Connection(File device) : device_(std::move(device)) {}

  int descriptor() const { return device_.descriptor(); }

  // From here on receive() does not wait: several threads wait for the next request, and one of them gets it.
  Status open();
  // The next request, in `buffer`; nothing when there is none now. Fails when the mount is gone.
  Result<std::optional<Request>> receive(MutableBytes buffer);

  // `error` is 0, or a negative errno without a body. What can't be sent as a whole is answered with EIO.
  void answer(uint64_t unique, int error, Bytes body = {});
  template <typename T>
  void answer_with(uint64_t unique, const T& body) {
    answer(unique, 0, Bytes(reinterpret_cast<const uint8_t*>(&body), sizeof body));
  }

  // Asks the kernel to repeat what another server left unanswered.
  Status ask_again();
  // Has the kernel forget a name. Until this returns it may wait for answers to lookups in the folder.
  void forget_name(uint64_t folder, std::string_view name);

 private:
  File device_;
};

}  // namespace seekable::fuse
