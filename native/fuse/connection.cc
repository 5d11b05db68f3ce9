#include "fuse/connection.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <string>

namespace seekable::fuse {

Status Connection::open() {
  if (fcntl(descriptor(), F_SETFL, fcntl(descriptor(), F_GETFL) | O_NONBLOCK) < 0)
    return system_error("/dev/fuse", errno);
  return ok();
}

Result<std::optional<Request>> Connection::receive(MutableBytes buffer) {
  const ssize_t size = ::read(descriptor(), buffer.data(), buffer.size());
  if (size < 0) {
    // Another thread was quicker, or the request was given up.
    if (errno == EAGAIN || errno == EINTR || errno == ENOENT) return std::optional<Request>();
    return system_error("/dev/fuse", errno);
  }
  const Bytes bytes = buffer.first(static_cast<size_t>(size));
  if (bytes.size() < sizeof(InHeader)) return system_error("/dev/fuse", EPROTO);
  return std::optional(Request{load_le<InHeader>(bytes.data()), bytes.subspan(sizeof(InHeader))});
}

void Connection::answer(uint64_t unique, int error, Bytes body) {
  OutHeader header{static_cast<uint32_t>(sizeof(OutHeader) + body.size()), error, unique};
  const iovec parts[] = {{&header, sizeof header}, {const_cast<uint8_t*>(body.data()), body.size()}};
  if (::writev(descriptor(), parts, body.empty() ? 1 : 2) >= 0) return;
  // ENOENT: the request was given up. Anything else must not leave its reader waiting.
  if (errno == ENOENT || body.empty()) return;
  header = {sizeof header, -EIO, unique};
  [[maybe_unused]] const ssize_t written = ::write(descriptor(), &header, sizeof header);
}

Status Connection::ask_again() {
  const OutHeader notice{sizeof(OutHeader), kNotifyResend, 0};
  if (::write(descriptor(), &notice, sizeof notice) < 0) return system_error("FUSE_NOTIFY_RESEND", errno);
  return ok();
}

void Connection::forget_name(uint64_t folder, std::string_view name) {
  const std::string text(name);
  const InvalidEntry gone{folder, static_cast<uint32_t>(text.size()), 0};
  const size_t size = sizeof(OutHeader) + sizeof gone + text.size() + 1;
  OutHeader header{static_cast<uint32_t>(size), kNotifyInvalidEntry, 0};
  const iovec parts[] = {{&header, sizeof header},
                         {const_cast<InvalidEntry*>(&gone), sizeof gone},
                         {const_cast<char*>(text.c_str()), text.size() + 1}};
  // ENOENT: it does not know the name. Whatever else fails, it asks again when what it knows is out of date.
  [[maybe_unused]] const ssize_t written = ::writev(descriptor(), parts, 3);
}

}  // namespace seekable::fuse
