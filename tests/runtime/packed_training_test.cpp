// Packed documents: a batch has the loss and gradients of its documents trained one by one, on any ranks.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/exact_training.h"

namespace annulus::test {
namespace {

// Of documents that go whole to a rank, and of some that are cut in zigzag on up to `zigzag_ranks` ranks.
std::string write_documents(const std::vector<int64_t>& lengths) {
  const std::string path = testing::TempDir() + "annulus_documents_" + std::to_string(getpid()) + ".jsonl";
  std::ofstream file(path);
  int64_t letter = 0;
  for (const int64_t length : lengths) {
    std::string text;
    for (int64_t i = 0; i < length; ++i, ++letter) text += static_cast<char>('a' + (letter * letter / 7 + i) % 23);
    file << nlohmann::json{{"text", text}}.dump() << "\n";
  }
  return path;
}

Config packed_config(const RankLayout& layout, int64_t sequence_length, const std::vector<int64_t>& lengths) {
  Config config = tiny_config(layout);
  config.data.path = write_documents(lengths);
  config.data.sequence_length = sequence_length;
  config.data.validation_fraction = 0.1;
  return config;
}

// The pieces of documents in the rows of the first batch, each through the fp64 model by itself.
LossAndGradients one_by_one(const Config& config, const std::vector<int64_t>& lengths) {
  const oracle::TransformerShape shape = oracle_shape(config);
  const oracle::Parameters weights = initial_weights(config);
  const Dataset data(config.data);
  const int64_t S = config.data.sequence_length;
  const RowOrder order(data.training(), S, static_cast<uint64_t>(config.run.seed));
  LossAndGradients sum;
  double labels = 0.0;
  for (int64_t row = 0; row < config.data.global_batch; ++row) {
    const int64_t begin = order.first_token(row), end = begin + S;
    int64_t document_begin = 0;
    for (const int64_t length : lengths) {
      const int64_t document_end = document_begin + length;
      const int64_t first = std::max(begin, document_begin), last = std::min(end, document_end);
      document_begin = document_end;
      if (first >= last) continue;
      oracle::TokenBatch piece = {1, last - first, {}, {}};
      for (int64_t i = first; i < last; ++i) {
        piece.tokens.push_back(data.token(i));
        piece.labels.push_back(i + 1 < document_end ? data.token(i + 1) : -1);
      }
      const auto counted = static_cast<double>(last - first - (last == document_end ? 1 : 0));
      if (counted == 0.0) continue;
      const auto exact =
          oracle::loss_and_gradients(shape, weights, piece, oracle_slices(causal_mask(last - first, last - first)));
      labels += counted;
      sum.loss += counted * exact.loss;
      for (const auto& [name, g] : exact.gradients) {
        std::vector<double>& whole = sum.gradients[name];
        whole.resize(g.size());
        for (size_t i = 0; i < g.size(); ++i) whole[i] += counted * g[i];
      }
    }
  }
  sum.loss /= labels;
  for (auto& [name, whole] : sum.gradients)
    for (double& g : whole) g /= labels;
  return sum;
}

const std::vector<RankLayout> kLayouts = {{1, 2, "zigzag"},     {1, 3, "zigzag"},  {2, 2, "zigzag"},
                                          {1, 2, "contiguous"}, {1, 3, "striped"}, {2, 1, "zigzag"}};

TEST(PackedTraining, EqualsItsDocumentsOneByOneOnAnyRanks) {
  std::vector<int64_t> lengths;
  for (int i = 0; i < 40; ++i) lengths.push_back(1 + i * i * 7 % 61);
  for (const auto& [restart, dtype] : {std::pair{true, "f32"}, {false, "f32"}, {true, "bf16"}}) {
    Config config = packed_config({1, 1, "zigzag"}, 97, lengths);
    config.data.restart_positions = restart;
    if (dtype == std::string("bf16")) config = bf16_config(config);
    const LossAndGradients exact = one_by_one(config, lengths), one = gradients_of(config);
    EXPECT_NEAR(one.loss, exact.loss, one_rank_limit(config) * exact.loss);
    for (const auto& [name, g] : exact.gradients)
      EXPECT_LE(distance(one.gradients.at(name), g), one_rank_limit(config) * norm(g)) << name;
    std::optional<double> loss_error;
    if (config.train.dtype == "bf16") loss_error = loss_error_in_bf16() * exact.loss;  // on fewer tokens than these
    const std::string which = dtype == std::string("bf16") ? "bf16 packed "
                              : restart                    ? "packed "
                                                           : "packed, positions going on, ";
    expect_law_one(one, one, exact, which + "dp 1 cp 1 zigzag", loss_error);  // for the table of docs/NUMERICS.md
    for (const RankLayout& layout : kLayouts) {
      Config parted = config;
      parted.parallel = tiny_config(layout).parallel;
      expect_law_one(gradients_of(parted), one, exact, which + layout.name(), loss_error);
    }
  }
}

// Too long for the fp64 model's tape: beside one rank instead, which the test above has compared with it. Both are off
// by what one rank may be off by, many ranks by half as much again.
TEST(PackedTraining, DocumentsCutInZigzagTrainLikeOneRank) {
  const std::vector<int64_t> lengths = {700, 90, 3, 1100, 520, 1, 260, 900, 40, 613};
  const Config config = packed_config({1, 1, "zigzag"}, 1100, lengths);
  const LossAndGradients one = gradients_of(config);
  const double limit = one_rank_limit(config);
  for (const RankLayout& layout : kLayouts) {
    const LossAndGradients many = gradients_of(packed_config(layout, 1100, lengths));
    EXPECT_NEAR(many.loss, one.loss, 2.5 * limit * one.loss) << layout.name();
    for (const auto& [name, g] : one.gradients)
      EXPECT_LE(distance(many.gradients.at(name), g), 2.5 * limit * norm(g)) << layout.name() << " " << name;
  }
}

TEST(PackedTraining, WithoutADocumentMaskItIsOneStream) {
  const std::vector<int64_t> lengths(30, 37);
  Config config = packed_config({1, 2, "zigzag"}, 97, lengths);
  const double packed = gradients_of(config).loss;
  config.data.document_mask = false;
  const double stream = gradients_of(config).loss;
  EXPECT_NE(packed, stream);
  EXPECT_NEAR(packed, stream, 0.1 * stream);  // an untrained model hardly uses what it sees
}

TEST(PackedTraining, StepsAndValidationAreThoseOfOneRank) {
  std::vector<int64_t> lengths;
  for (int i = 0; i < 60; ++i) lengths.push_back(5 + i * i * 13 % 200);
  std::vector<double> one;
  for (const RankLayout& layout : {RankLayout{1, 1, "zigzag"}, {1, 3, "zigzag"}, {2, 2, "zigzag"}, {3, 1, "zigzag"}}) {
    std::vector<double> losses;
    with_trainers(packed_config(layout, 301, lengths), [&](Trainer& trainer, Group& world) {
      for (int step = 0; step < 20; ++step) {
        const StepStats stats = trainer.step();
        if (world.rank() == 0) losses.push_back(stats.loss);
      }
      const double validation = trainer.validate().loss;
      if (world.rank() == 0) losses.push_back(validation);
    });
    if (one.empty()) one = losses;
    EXPECT_LT(one[19], one[0] - 0.5);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(losses[i], one[i], 1e-5 * one[i]) << layout.name() << " " << i;
  }
}

}  // namespace
}  // namespace annulus::test
