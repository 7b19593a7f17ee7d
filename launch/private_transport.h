#pragma once
// For benchmarks: a ring without communication. A rank visits the very blocks that a schedule names, but each is a copy
// of its own, filled beforehand; nothing is sent, awaited or signalled. What a real transport takes longer is what it
// costs.
#include <memory>
#include <vector>

#include "comm/transport.h"
#include "runtime/core/tensor.h"

namespace annulus {

/// blocks[r] is this rank's copy of the packed block of rank r; the copies must outlive the transport. Gradients of a
/// block take `gradient_bytes` at most. The sum that backward finds at a visit is no sum, but lies in memory as one
/// does.
std::unique_ptr<Transport> make_private_transport(const std::vector<TensorView>& blocks, int64_t gradient_bytes);

}  // namespace annulus
