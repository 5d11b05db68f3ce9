// Errors as values. Every fallible function of the core returns Result<T>; nothing throws on purpose.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace seekable {

// What went wrong, as callers must act on it. src/errors.ts owns the list and the exit code of each;
// a test holds the two lists together.
enum class ErrorCode {
  kUsage,        // an argument that no caller should pass
  kIo,           // the operating system refused; `why` holds its words
  kNoSpace,      // the disk or the quota is full
  kCorrupt,      // bytes that break their own format
  kMismatch,     // bytes that are well formed, but not those that a digest or a size promised
  kRefused,      // a tar that the policy refuses (docs/format/tar-policy.md)
  kUnsupported,  // legal, but beyond what this program handles
  kCancelled,    // the caller asked to stop
  kNoMemory,
};

// The code's stable name, e.g. "CORRUPT".
const char* code_name(ErrorCode code);

// Printed as `error: WHAT: WHY (HINT)`.
struct Error {
  ErrorCode code;
  std::string what;      // the thing at fault: a path, an entry's name, "frame 3"
  std::string why;       // the fault, with numbers
  std::string hint;      // what to do about it; may be empty
  int error_number = 0;  // of the system call that failed; 0 when none did
};

inline Error corrupt(std::string what, std::string why) {
  return {ErrorCode::kCorrupt, std::move(what), std::move(why), {}};
}
inline Error mismatch(std::string what, std::string why) {
  return {ErrorCode::kMismatch, std::move(what), std::move(why), {}};
}
inline Error refused(std::string what, std::string why) {
  return {ErrorCode::kRefused, std::move(what), std::move(why), {}};
}
inline Error unsupported(std::string what, std::string why) {
  return {ErrorCode::kUnsupported, std::move(what), std::move(why), {}};
}
inline Error usage(std::string what, std::string why) {
  return {ErrorCode::kUsage, std::move(what), std::move(why), {}};
}
inline Error cancelled() { return {ErrorCode::kCancelled, "operation", "cancelled", {}}; }

// A failed system call on `what`; ENOSPC and EDQUOT become kNoSpace.
Error system_error(std::string what, int error_number);

// Either a value or an Error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}  // NOLINT(google-explicit-constructor)
  Result(Error error)
      : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  bool ok() const { return state_.index() == 0; }
  // REQUIRES: ok().
  T& value() { return *std::get_if<0>(&state_); }
  const T& value() const { return *std::get_if<0>(&state_); }
  // REQUIRES: !ok().
  Error& error() { return *std::get_if<1>(&state_); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

struct Unit {};

// Success without a value, or an Error.
using Status = Result<Unit>;
inline Status ok() { return Unit{}; }

// TRY(expression) is the value of a Result, or returns its Error from the enclosing function.
#define TRY(expression)                                         \
  ({                                                            \
    auto&& try_result = (expression);                           \
    if (!try_result.ok()) return std::move(try_result.error()); \
    std::move(try_result.value());                              \
  })

}  // namespace seekable
