#pragma once
// Errors that all ranks learn of, so that all stop together with one message and one exit code.
#include <optional>
#include <string>
#include <type_traits>

#include "comm/group.h"
#include "runtime/core/error.h"

namespace annulus {

/// An error that every rank throws alike: rank 0 speaks for all.
class AgreedError : public UserError {
 public:
  using UserError::UserError;
};

/// For what every rank checks alike, on the same facts: throws AgreedError unless `ok`.
template <class... Parts>
void require_alike(ExitCode code, bool ok, const Parts&... parts) {
  if (!ok) throw AgreedError(code, concat(parts...));
}

/// Collective: throws AgreedError on every rank if any rank brings an error; the message is the lowest failing rank's.
void agree_on(const std::optional<UserError>& mine, Group& group);

/// Collective: throws AgreedError unless every rank brings the same text. The message names the first rank that does
/// not and the first line in which it differs, and ends with `advice`.
void require_same(ExitCode code, const std::string& mine, const std::string& what, const std::string& advice,
                  Group& group);

/// Collective: runs `work` on every rank and returns its result. If it throws UserError anywhere, every rank throws
/// AgreedError with the code and message of the lowest rank that failed. `work` must not communicate, unless within a
/// part of the group in which a failure is everybody's.
template <class Work>
auto agree(Group& group, Work&& work) {
  using Result = decltype(work());
  std::optional<UserError> error;
  if constexpr (std::is_void_v<Result>) {
    try {
      work();
    } catch (const UserError& problem) {
      error = problem;
    }
    agree_on(error, group);
  } else {
    std::optional<Result> result;
    try {
      result = work();
    } catch (const UserError& problem) {
      error = problem;
    }
    agree_on(error, group);
    return std::move(*result);
  }
}

}  // namespace annulus
