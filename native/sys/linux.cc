#include "sys/linux.h"

#include <sys/file.h>

namespace seekable::sys {

Result<bool> try_lock(int descriptor) {
  int status;
  do {
    status = flock(descriptor, LOCK_EX | LOCK_NB);
  } while (status != 0 && errno == EINTR);
  if (status == 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return system_error("lock file", errno);
}

}  // namespace seekable::sys
