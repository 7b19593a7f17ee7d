#include "comm/agree.h"

#include <string>
#include <vector>

namespace annulus {

void agree_on(const std::optional<UserError>& mine, Group& group) {
  const std::vector<int64_t> codes =
      group.all_gather(int64_t{mine ? static_cast<int>(mine->code()) : 0}, "the other ranks' checks");
  for (int rank = 0; rank < group.size(); ++rank) {
    const int64_t code = codes[static_cast<size_t>(rank)];
    if (code == 0) continue;
    std::string message = group.broadcast(mine && rank == group.rank() ? mine->what() : "", rank, "an error message");
    if (rank != 0) message = "rank " + std::to_string(rank) + "/" + std::to_string(group.size()) + ": " + message;
    throw AgreedError(static_cast<ExitCode>(code), message);
  }
}

}  // namespace annulus
