// Error against ring size: the state is carried from visit to visit and never rounded between them, so that more ranks
// must not mean more error.
#include <gtest/gtest.h>

#include <map>

#include "tests/support/distance.h"
#include "tests/support/ranks.h"
#include "tests/support/ring_case.h"

namespace annulus::test {
namespace {

// |x_P - x| / |x| of each tensor.
std::map<std::string, double> errors_of(const AttentionAnswer& got, const AttentionCase& c) {
  auto error = [](const std::vector<double>& x, const std::vector<double>& exact) {
    return distance(x, exact) / norm(exact);
  };
  return {{"out", error(got.out, c.exact.out)},
          {"lse", error(got.lse, c.exact.lse)},
          {"dq", error(got.dq, c.exact.dq)},
          {"dk", error(got.dk, c.exact.dk)},
          {"dv", error(got.dv, c.exact.dv)}};
}

// On P = 1 to 8 ranks, each tensor may be 1.5 times as far from the exact one as on one rank, as law 1 says for the
// gradients of a model.
void expect_flat(const AttentionCase& c, const std::string& mask) {
  std::map<std::string, double> one;
  for (const std::string placement : {"contiguous", "zigzag", "striped"})
    for (int ranks = 1; ranks <= 8; ++ranks)
      run_ranks(ranks, [&](Group& ring) {
        const RingRun run = run_ring(c, placement, "auto", ring);
        if (ring.rank() != 0) return;
        const auto errors = errors_of(run.answer, c);
        if (ranks == 1) one = errors;
        for (const auto& [tensor, error] : errors) {
          EXPECT_LE(error, 1.5 * one[tensor]) << mask << " " << tensor << " " << placement << " P " << ranks;
          if (std::getenv("ANNULUS_PRINT_ERRORS"))
            std::cout << "ring " << mask << " " << tensor << " " << placement << " " << ranks << " " << error
                      << " limit " << 1.5 * one[tensor] << "\n";
        }
      });
}

AttentionCase long_case(const Mask& mask) {
  AttentionCase c = random_attention_case({1, 1021, 1021, 4, 2, 64, 64}, mask, 41);
  c.exact = oracle::attention<double>(c.q, c.k, c.v, c.dout, c.shape, oracle_slices(mask), c.scale);
  return c;
}

TEST(RingSize, ErrorOfCausalAttentionDoesNotGrow) { expect_flat(long_case(causal_mask(1021, 1021)), "causal"); }

// Mean length 64: most ranks of a ring have nothing to do with most others.
TEST(RingSize, ErrorOfDocumentsDoesNotGrow) {
  std::vector<int64_t> ends;
  for (int64_t end = 0, i = 0; end < 1021; ++i)
    ends.push_back(end = std::min<int64_t>(1021, end + 1 + i * i * 37 % 128));
  expect_flat(long_case(document_mask(ends)), "documents");
}

}  // namespace
}  // namespace annulus::test
