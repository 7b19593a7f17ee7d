// The attention kernel of every instruction set beside the fp64 oracle, with the state carried over several visits.
#include "kernels/attention.h"

#include <gtest/gtest.h>

#include "kernels/cpu/isa.h"
#include "tests/support/attention_case.h"
#include "tests/support/buffer.h"

namespace annulus::test {
namespace {

using Segments = std::vector<Segment>;

std::vector<int64_t> positions_of(const Segments& segments) {
  std::vector<int64_t> positions;
  for (const Segment& s : segments)
    for (int64_t i = 0; i < s.count; ++i) positions.push_back(s.begin + i * s.stride);
  return positions;
}

// (B, S, row) -> (B, T, row): the tokens at `positions`.
std::vector<double> gather(const std::vector<double>& x, int64_t B, int64_t row,
                           const std::vector<int64_t>& positions) {
  const int64_t S = static_cast<int64_t>(x.size()) / (B * row);
  std::vector<double> part;
  for (int64_t b = 0; b < B; ++b)
    for (const int64_t p : positions)
      part.insert(part.end(), x.begin() + (b * S + p) * row, x.begin() + (b * S + p + 1) * row);
  return part;
}

void scatter(std::vector<double>& x, const std::vector<double>& part, int64_t B, int64_t row,
             const std::vector<int64_t>& positions) {
  const int64_t S = static_cast<int64_t>(x.size()) / (B * row), T = static_cast<int64_t>(positions.size());
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t < T; ++t)
      for (int64_t i = 0; i < row; ++i)
        x[static_cast<size_t>((b * S + positions[static_cast<size_t>(t)]) * row + i)] =
            part[static_cast<size_t>((b * T + t) * row + i)];
}

// One rank holds all queries (as `queries` orders them); key blocks visit it one after another.
AttentionAnswer attend(const AttentionCase& c, const Segments& queries, const std::vector<Segments>& key_blocks) {
  const auto& n = c.shape;
  const auto rows = positions_of(queries);
  const auto Tq = static_cast<int64_t>(rows.size());
  const Buffer q({n.B, Tq, n.H, n.Dqk}, gather(c.q, n.B, n.H * n.Dqk, rows));
  const Buffer dout({n.B, Tq, n.H, n.Dv}, gather(c.dout, n.B, n.H * n.Dv, rows));
  const Buffer out({n.B, Tq, n.H, n.Dv}), lse({n.B, n.H, Tq}), delta({n.B, n.H, Tq});
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
  auto shape_only = [](const Buffer& b) { return TensorView(nullptr, Dtype::kF32, b.view().shape(), Device::kShape); };
  for (const bool measure : {true, false}) {
    if (!measure) scratch.commit();
    auto view = [&](const Buffer& b) { return measure ? shape_only(b) : b.view(); };
    for (size_t visit = 0; visit < key_blocks.size(); ++visit) {
      const auto keys = positions_of(key_blocks[visit]);
      const int64_t Tk = dims[visit].Tk;
      const Buffer k({n.B, Tk, n.K, n.Dqk}, gather(c.k, n.B, n.K * n.Dqk, keys));
      const Buffer v({n.B, Tk, n.K, n.Dv}, gather(c.v, n.B, n.K * n.Dv, keys));
      const Buffer kv({kv_block_floats(dims[visit])});
      pack_kv(kv.view(), k.view(), v.view());
      attention_forward(view(out), view(lse), view(state), view(q), view(kv), dims[visit], tiles[visit], options,
                        scratch, nullptr);
    }
    attention_delta(view(delta), view(out), view(dout));
    for (size_t visit = 0; visit < key_blocks.size(); ++visit) {
      const auto keys = positions_of(key_blocks[visit]);
      const int64_t Tk = dims[visit].Tk;
      const Buffer k({n.B, Tk, n.K, n.Dqk}, gather(c.k, n.B, n.K * n.Dqk, keys));
      const Buffer v({n.B, Tk, n.K, n.Dv}, gather(c.v, n.B, n.K * n.Dv, keys));
      const Buffer dk({n.B, Tk, n.K, n.Dqk}), dv({n.B, Tk, n.K, n.Dv});
      const Buffer kv({kv_block_floats(dims[visit])}), dkv({kv_block_floats(dims[visit])});
      pack_kv(kv.view(), k.view(), v.view());
      attention_backward(view(dq), view(dkv), view(q), view(kv), view(dout), view(lse), view(delta), dims[visit],
                         tiles[visit], options, scratch, nullptr);
      if (measure) continue;
      unpack_kv(dk.view(), dv.view(), dkv.view());
      scatter(answer.dk, dk.doubles(), n.B, n.K * n.Dqk, keys);
      scatter(answer.dv, dv.doubles(), n.B, n.K * n.Dv, keys);
    }
  }
  scatter(answer.out, out.doubles(), n.B, n.H * n.Dv, rows);
  scatter(answer.dq, dq.doubles(), n.B, n.H * n.Dqk, rows);
  scatter(answer.lse, lse.doubles(), n.B * n.H, 1, rows);
  return answer;
}

class Attention : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { cpu::choose_isa(GetParam()); }
};

TEST_P(Attention, EqualsOracleForEveryMaskInOneVisit) {
  for (const int64_t S : {1, 7, 64, 67, 203})
    for (const NamedMask& m : masks_for(S)) {
      const AttentionCase c = make_attention_case({2, S, S, 4, 2, 16, 16}, m.mask, 7);
      expect_exact(attend(c, {{0, S, 1}}, {{{0, S, 1}}}), c, m.name + " S " + std::to_string(S));
    }
}

TEST_P(Attention, EqualsOracleForEveryHeadLayoutAndWidth) {
  for (const auto& [H, K] : {std::pair{3, 3}, {6, 2}, {5, 1}})
    for (const auto& [Dqk, Dv] : {std::pair{8, 8}, {24, 40}, {64, 64}, {128, 72}, {256, 256}}) {
      const int64_t S = 77;
      const AttentionCase c = make_attention_case({1, S, S, H, K, Dqk, Dv}, causal_mask(S, S), 11);
      expect_exact(attend(c, {{0, S, 1}}, {{{0, S, 1}}}), c,
                   "H " + std::to_string(H) + " K " + std::to_string(K) + " D " + std::to_string(Dqk));
    }
}

TEST_P(Attention, CarriesItsStateOverVisitsOfStridedAndSplitSegments) {
  const int64_t S = 205;
  const Segments strided = {{0, 69, 3}, {1, 68, 3}, {2, 68, 3}};
  for (const NamedMask& m : masks_for(S)) {
    const AttentionCase c = make_attention_case({1, S, S, 2, 1, 32, 24}, m.mask, 3);
    expect_exact(attend(c, {{0, 100, 1}, {100, 105, 1}}, {{{30, 100, 1}}, {{0, 30, 1}, {130, 75, 1}}}), c,
                 m.name + " split");
    expect_exact(attend(c, strided, {{strided[1]}, {strided[0]}, {strided[2]}}), c, m.name + " strided");
  }
}

TEST_P(Attention, CrossAttentionHasItsOwnNumberOfKeys) {
  for (const auto& [Sq, Sk] : {std::pair{33, 150}, {150, 33}, {5, 1}}) {
    const AttentionCase c = make_attention_case({2, Sq, Sk, 4, 2, 16, 8}, causal_mask(Sq, Sk), 5);
    expect_exact(attend(c, {{0, Sq, 1}}, {{{0, Sk / 2, 1}}, {{Sk / 2, Sk - Sk / 2, 1}}}), c, "cross");
  }
}

TEST_P(Attention, StaysExactWhereScoresGrowAlongTheRow) {
  const int64_t S = 300, D = 16;
  AttentionCase c = make_attention_case({1, S, S, 1, 1, D, D}, full_mask(S, S), 13);
  for (int64_t j = 0; j < S; ++j)  // every key block beats all earlier ones by far more than the lazy range
    for (int64_t d = 0; d < D; ++d)
      c.k[static_cast<size_t>(j * D + d)] = static_cast<float>(0.05 * static_cast<double>(j));
  for (double& x : c.q) x = static_cast<float>(std::abs(x));
  solve(c);
  expect_exact(attend(c, {{0, S, 1}}, {{{0, 150, 1}}, {{150, 150, 1}}}), c, "growing scores");
}

INSTANTIATE_TEST_SUITE_P(Isa, Attention, testing::ValuesIn(cpu::supported_isas()),
                         [](const auto& isa) { return isa.param; });

TEST(AttentionDeath, UnsupportedShapesAreRefusedByName) {
  auto message = [](const AttentionDims& dims) {
    try {
      require_supported(dims, "attention");
    } catch (const UserError& error) {
      EXPECT_EQ(error.code(), ExitCode::kUsage);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message({1, 4, 4, 4, 2, 64, 64}), "");
  EXPECT_NE(message({1, 4, 4, 4, 3, 64, 64}).find("4 query heads are not a multiple of 3"), std::string::npos);
  EXPECT_NE(message({1, 4, 4, 4, 2, 20, 64}).find("for example 24"), std::string::npos);
  EXPECT_NE(message({1, 4, 4, 4, 2, 64, 264}).find("for example 256"), std::string::npos);
}

}  // namespace
}  // namespace annulus::test
