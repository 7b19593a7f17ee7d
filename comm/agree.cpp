#include "comm/agree.h"

#include <sstream>
#include <vector>

namespace annulus {
namespace {

// Of the first line in which the texts differ: theirs and ours.
std::pair<std::string, std::string> first_difference(const std::string& theirs, const std::string& ours) {
  std::istringstream a(theirs), b(ours);
  std::string x, y;
  do {
    if (!std::getline(a, x)) x = "nothing";
    if (!std::getline(b, y)) y = "nothing";
  } while (x == y && (a || b));
  return {x, y};
}

}  // namespace

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

void require_same(ExitCode code, const std::string& mine, const std::string& what, const std::string& advice,
                  Group& group) {
  const std::vector<std::string> all = group.gather(mine, 0, what.c_str());
  agree(group, [&] {
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (all[rank] == mine) continue;
      const auto [theirs, ours] = first_difference(all[rank], mine);
      fail(code, what, " of rank ", rank, " differs from that of rank 0: ", theirs, " instead of ", ours, "; ", advice);
    }
  });
}

}  // namespace annulus
