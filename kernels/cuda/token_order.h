#pragma once
// Which tokens are alike, as a stable order of them: what sums over equal tokens in their own order go by.
#include <cstdint>

#include "kernels/device_ops.h"

namespace annulus::cuda {

/// Indices 0 to N-1 by token, those of one token in their order, and the token of each.
struct TokenOrder {
  const int32_t *indices_N, *tokens_N;
};

/// The order lies in the scratch, which has device_token_order_ints(N). Tokens are in [0, V). Takes time proportional
/// to N.
DeviceError order_tokens(TokenOrder* order, const int32_t* tokens_N, int64_t N, int64_t V, int32_t* scratch,
                         DeviceStream stream);

}  // namespace annulus::cuda
