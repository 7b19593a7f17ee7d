#pragma once
// An attention problem computed by the kernel alone: blocks of keys visit one rank, which carries its state.
#include <vector>

#include "kernels/attention.h"
#include "tests/support/attention_case.h"
#include "tests/support/buffer.h"
#include "tests/support/tokens.h"

namespace annulus::test {

using Segments = std::vector<Segment>;

inline std::vector<int64_t> positions_of(const Segments& segments) {
  std::vector<int64_t> positions;
  for (const Segment& s : segments)
    for (int64_t i = 0; i < s.count; ++i) positions.push_back(s.begin + i * s.stride);
  return positions;
}

/// One rank holds all queries (as `queries` orders them); key blocks visit it one after another.
inline AttentionAnswer attend(const AttentionCase& c, const Segments& queries,
                              const std::vector<Segments>& key_blocks) {
  const auto& n = c.shape;
  const auto rows = positions_of(queries);
  const auto Tq = static_cast<int64_t>(rows.size());
  const Buffer q({n.B, Tq, n.H, n.Dqk}, gather_tokens(c.q, n.B, n.H * n.Dqk, rows), c.dtype);
  const Buffer dout({n.B, Tq, n.H, n.Dv}, gather_tokens(c.dout, n.B, n.H * n.Dv, rows), c.dtype);
  const Buffer out({n.B, Tq, n.H, n.Dv}, __builtin_nanf(""), c.dtype);
  const Buffer lse_parts({2, n.B, n.H, Tq}), lse({n.B, n.H, Tq}), delta({n.B, n.H, Tq});
  const Buffer dq({n.B, Tq, n.H, n.Dqk}, 0.0f);
  const AttentionOptions options = {static_cast<float>(c.scale)};
  Arena scratch("scratch");
  AttentionAnswer answer;
  answer.out.resize(c.exact.out.size());
  answer.lse.resize(c.exact.lse.size());
  answer.dq.resize(c.q.size());
  answer.dk.resize(c.k.size());
  answer.dv.resize(c.v.size());

  std::vector<AttentionTiles> tiles;
  std::vector<AttentionDims> dims;
  for (const Segments& keys : key_blocks) {
    tiles.push_back(make_attention_tiles(queries, keys, c.mask, attention_query_block()));
    dims.push_back({n.B, Tq, static_cast<int64_t>(positions_of(keys).size()), n.H, n.K, n.Dqk, n.Dv});
  }
  for (QueryBlock& block : tiles.front().blocks) block.first = true;
  for (QueryBlock& block : tiles.back().blocks) block.last = true;
  const Buffer state({attention_state_floats(dims[0], tiles[0])});

  // Measured on tensors without memory first, as the trainer does.
  auto shape_only = [](const Buffer& b) {
    return TensorView(nullptr, b.view().dtype(), b.view().shape(), Device::kShape);
  };
  for (const bool measure : {true, false}) {
    if (!measure) scratch.commit();
    auto view = [&](const Buffer& b) { return measure ? shape_only(b) : b.view(); };
    for (size_t visit = 0; visit < key_blocks.size(); ++visit) {
      const auto keys = positions_of(key_blocks[visit]);
      const int64_t Tk = dims[visit].Tk;
      const Buffer k({n.B, Tk, n.K, n.Dqk}, gather_tokens(c.k, n.B, n.K * n.Dqk, keys), c.dtype);
      const Buffer v({n.B, Tk, n.K, n.Dv}, gather_tokens(c.v, n.B, n.K * n.Dv, keys), c.dtype);
      const Buffer kv({kv_block_numel(dims[visit])}, __builtin_nanf(""), c.dtype);
      pack_kv(kv.view(), k.view(), v.view());
      attention_forward(view(out), view(lse_parts), view(state), view(q), view(kv), dims[visit], tiles[visit], options,
                        scratch, nullptr);
    }
    attention_delta(view(delta), view(out), view(dout));
    for (size_t visit = 0; visit < key_blocks.size(); ++visit) {
      const auto keys = positions_of(key_blocks[visit]);
      const int64_t Tk = dims[visit].Tk;
      const Buffer k({n.B, Tk, n.K, n.Dqk}, gather_tokens(c.k, n.B, n.K * n.Dqk, keys), c.dtype);
      const Buffer v({n.B, Tk, n.K, n.Dv}, gather_tokens(c.v, n.B, n.K * n.Dv, keys), c.dtype);
      const Buffer dk({n.B, Tk, n.K, n.Dqk}), dv({n.B, Tk, n.K, n.Dv});
      const Buffer kv({kv_block_numel(dims[visit])}, __builtin_nanf(""), c.dtype), dkv({kv_block_numel(dims[visit])});
      pack_kv(kv.view(), k.view(), v.view());
      attention_backward(view(dq), view(dkv), view(q), view(kv), view(dout), view(lse_parts), view(delta), dims[visit],
                         tiles[visit], options, scratch, nullptr);
      if (measure) continue;
      unpack_kv_gradient(dk.view(), dv.view(), dkv.view());
      scatter_tokens(answer.dk, dk.doubles(), n.B, n.K * n.Dqk, keys);
      scatter_tokens(answer.dv, dv.doubles(), n.B, n.K * n.Dv, keys);
    }
  }
  scatter_tokens(answer.out, out.doubles(), n.B, n.H * n.Dv, rows);
  scatter_tokens(answer.dq, dq.doubles(), n.B, n.H * n.Dqk, rows);
  natural_lse(lse.view(), lse_parts.view());
  scatter_tokens(answer.lse, lse.doubles(), n.B * n.H, 1, rows);
  return answer;
}

}  // namespace annulus::test
