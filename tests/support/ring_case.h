#pragma once
// An attention problem computed by a ring: every rank takes its tokens, and rank 0 gets the answer in global order.
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "comm/choose_transport.h"
#include "model/ring_attention.h"
#include "tests/support/attention_case.h"
#include "tests/support/buffer.h"
#include "tests/support/tokens.h"

namespace annulus::test {

/// Collective over the ring: how a test makes its transport.
using MakeTransport = std::function<std::unique_ptr<Transport>(const TransportSizes&, Group&)>;

inline MakeTransport transport_of(const std::string& kind) {
  return [kind](const TransportSizes& sizes, Group& ring) { return choose_transport(kind, sizes, ring); };
}

struct RingRun {
  AttentionAnswer answer;  // on rank 0; every rank's rows gathered
  TransportCounters counters;
};

namespace detail {

// Sends this rank's tokens of a result to rank 0, which puts each rank's at its positions.
inline void collect(std::vector<double>& whole, const std::vector<double>& mine, int64_t B, int64_t row,
                    const Placement& placement, Group& ring) {
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(double));
  const std::vector<std::string> all = ring.gather(bytes, 0, "test results");
  for (int r = 0; r < static_cast<int>(all.size()); ++r) {
    std::vector<double> part(all[static_cast<size_t>(r)].size() / sizeof(double));
    if (!part.empty()) std::memcpy(part.data(), all[static_cast<size_t>(r)].data(), part.size() * sizeof(double));
    scatter_tokens(whole, part, B, row, placement.positions(r));
  }
}

}  // namespace detail

/// Collective over `ring`. Runs `layers` forward passes and then as many backward passes on the same data, as a model
/// of that many layers would; the answer is that of the last.
inline RingRun run_ring(const AttentionCase& c, const std::string& placement, const MakeTransport& make_transport,
                        Group& ring, int layers = 1) {
  const auto& n = c.shape;
  const Placement queries = make_placement(placement, n.Sq, ring.size());
  const Placement keys = make_placement(placement, n.Sk, ring.size());
  const RingHeads heads = {n.B, n.H, n.K, n.Dqk, n.Dv, c.dtype};
  const Schedule schedule = make_flat_ring(queries, keys, c.mask, heads, ring.rank(), attention_query_block());
  const auto transport = make_transport(transport_sizes(keys, heads, ring.rank()), ring);

  const std::vector<int64_t> rows = queries.positions(ring.rank()), key_rows = keys.positions(ring.rank());
  const auto Tq = static_cast<int64_t>(rows.size()), Tk = static_cast<int64_t>(key_rows.size());
  const Buffer q({n.B, Tq, n.H, n.Dqk}, gather_tokens(c.q, n.B, n.H * n.Dqk, rows), c.dtype);
  const Buffer k({n.B, Tk, n.K, n.Dqk}, gather_tokens(c.k, n.B, n.K * n.Dqk, key_rows), c.dtype);
  const Buffer v({n.B, Tk, n.K, n.Dv}, gather_tokens(c.v, n.B, n.K * n.Dv, key_rows), c.dtype);
  const Buffer dout({n.B, Tq, n.H, n.Dv}, gather_tokens(c.dout, n.B, n.H * n.Dv, rows), c.dtype);
  const auto empty = [&](const Shape& shape) { return Buffer(shape, __builtin_nanf(""), c.dtype); };
  const Buffer out = empty({n.B, Tq, n.H, n.Dv}), dq = empty({n.B, Tq, n.H, n.Dqk});
  const Buffer dk = empty({n.B, Tk, n.K, n.Dqk}), dv = empty({n.B, Tk, n.K, n.Dv});
  const Buffer lse_parts({2, n.B, n.H, Tq}), lse({n.B, n.H, Tq});
  const AttentionOptions options = {static_cast<float>(c.scale)};

  Arena scratch("scratch");
  auto pass = [&](bool measure) {
    auto view = [&](const Buffer& b) {
      return measure ? TensorView(nullptr, b.view().dtype(), b.view().shape(), Device::kShape) : b.view();
    };
    Transport* wire = measure ? nullptr : transport.get();
    for (int layer = 0; layer < layers; ++layer)
      ring_attention_forward(view(out), view(lse_parts), view(q), view(k), view(v), schedule, options, wire, scratch);
    for (int layer = 0; layer < layers; ++layer) {
      ring_attention_prefetch(view(k), view(v), schedule, wire);
      ring_attention_backward(view(dq), view(dk), view(dv), view(q), view(out), view(lse_parts), view(dout), schedule,
                              options, wire, scratch);
    }
  };
  pass(true);
  scratch.commit();
  pass(false);
  natural_lse(lse.view(), lse_parts.view());

  RingRun run;
  run.counters = transport->counters();
  run.answer = {std::vector<double>(c.exact.out.size()), std::vector<double>(c.exact.lse.size()),
                std::vector<double>(c.q.size()), std::vector<double>(c.k.size()), std::vector<double>(c.v.size())};
  detail::collect(run.answer.out, out.doubles(), n.B, n.H * n.Dv, queries, ring);
  detail::collect(run.answer.lse, lse.doubles(), n.B * n.H, 1, queries, ring);
  detail::collect(run.answer.dq, dq.doubles(), n.B, n.H * n.Dqk, queries, ring);
  detail::collect(run.answer.dk, dk.doubles(), n.B, n.K * n.Dqk, keys, ring);
  detail::collect(run.answer.dv, dv.doubles(), n.B, n.K * n.Dv, keys, ring);
  return run;
}

inline RingRun run_ring(const AttentionCase& c, const std::string& placement, const std::string& transport_kind,
                        Group& ring, int layers = 1) {
  return run_ring(c, placement, transport_of(transport_kind), ring, layers);
}

inline void expect_same_bits(const AttentionAnswer& got, const AttentionAnswer& expected, const std::string& what) {
  EXPECT_TRUE(got.out == expected.out) << what << " out";
  EXPECT_TRUE(got.lse == expected.lse) << what << " lse";
  EXPECT_TRUE(got.dq == expected.dq) << what << " dq";
  EXPECT_TRUE(got.dk == expected.dk) << what << " dk";
  EXPECT_TRUE(got.dv == expected.dv) << what << " dv";
}

}  // namespace annulus::test
