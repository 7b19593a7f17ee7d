#pragma once
// Errors: one exception for what a user can mend, one check for our own bugs, and the exit codes both end in.
#include <sstream>
#include <stdexcept>
#include <string>

namespace annulus {

/// What `annulus` returns to the shell (README, "Exit codes").
enum class ExitCode : int {
  kDone = 0,
  kOther = 1,
  kUsage = 64,       // usage or config
  kData = 65,        // input data
  kCheckpoint = 66,  // no readable checkpoint
  kMemory = 71,      // too little memory or shared memory
  kStorage = 73,     // files cannot be written or are not shared
  kPeer = 75,        // a peer failed or hung
  kNumbers = 76,     // NaN or infinity in training
  kLocked = 77,      // run directory in use
  kRequeue = 85,     // stopped by a signal after a checkpoint
};

/// Something the user can mend. The message says what is wrong, where, and how to mend it.
class UserError : public std::runtime_error {
 public:
  UserError(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  return text.str();
}

template <class... Parts>
[[noreturn]] void fail(ExitCode code, const Parts&... parts) {
  throw UserError(code, concat(parts...));
}

/// Throws UserError with `code` unless `ok`; the message is built from the parts only then.
template <class... Parts>
void require(ExitCode code, bool ok, const Parts&... parts) {
  if (!ok) fail(code, parts...);
}

template <class... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) fail(ExitCode::kUsage, parts...);
}

/// A broken invariant is a bug in annulus, never the user's mistake.
template <class... Parts>
void invariant(bool ok, const Parts&... parts) {
  if (!ok) throw std::logic_error(concat("bug in annulus: ", parts...));
}

}  // namespace annulus
