#include "runtime/validation_rows.h"

#include "runtime/shares.h"

namespace annulus {

std::vector<ValidationRows> validation_rows(const TokenRange& validation, int64_t sequence_length, int replica,
                                            int num_replicas, int64_t largest) {
  const int64_t predicted = std::max<int64_t>(0, validation.size() - 1);
  const int64_t full_rows = predicted / sequence_length, rest = predicted % sequence_length;
  const Share share = share_of(full_rows + (rest > 0 ? 1 : 0), replica, num_replicas);
  std::vector<ValidationRows> all;
  for_pieces({share.begin, std::min(share.end, full_rows)}, largest, [&](int64_t first, int64_t count) {
    all.push_back({sequence_length, {}});
    for (int64_t row = first; row < first + count; ++row)
      all.back().first_tokens.push_back(validation.begin + row * sequence_length);
  });
  if (rest > 0 && share.begin <= full_rows && full_rows < share.end)
    all.push_back({rest, {validation.begin + full_rows * sequence_length}});
  return all;
}

}  // namespace annulus
