#pragma once
// The validation part as rows: consecutive, not overlapping but for the shared token at their seam, the last one
// shorter, so that every token but the first is predicted exactly once.
#include <cstdint>
#include <vector>

#include "runtime/dataset.h"

namespace annulus {

/// Rows of one length that are computed together.
struct ValidationRows {
  int64_t length;                     // tokens that are predicted in each row
  std::vector<int64_t> first_tokens;  // indices in the file
};

/// The share of ring `replica` of `num_replicas`, at most `largest` rows at a time.
std::vector<ValidationRows> validation_rows(const TokenRange& validation, int64_t sequence_length, int replica,
                                            int num_replicas, int64_t largest);

}  // namespace annulus
