// The law "N ranks train like one": gradients and losses of every layout of ranks beside an fp64 model that shares no
// code.
#include "runtime/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "runtime/validation_rows.h"
#include "tests/support/exact_training.h"

namespace annulus::test {
namespace {

std::vector<RankLayout> all_layouts() {
  std::vector<RankLayout> all = {{3, 1, "zigzag"}, {4, 1, "zigzag"}};
  for (const std::string placement : {"contiguous", "zigzag", "striped"})
    for (const auto& [dp, cp] : {std::pair{1, 2}, {1, 3}, {1, 4}, {2, 2}}) all.push_back({dp, cp, placement});
  return all;
}
const std::vector<RankLayout> kLayouts = all_layouts();

// Those and rings of up to 8 ranks, over which no error may grow.
std::vector<RankLayout> all_layouts_and_larger_rings() {
  std::vector<RankLayout> all = kLayouts;
  for (const std::string placement : {"contiguous", "zigzag", "striped"})
    for (int cp = 5; cp <= 8; ++cp) all.push_back({1, cp, placement});
  return all;
}

TEST(Trainer, GradientsOfAnyLayoutAreAsExactAsThoseOfOneRank) {
  for (const bool tied : {false, true}) {
    Config config = tiny_config({1, 1, "zigzag"});
    config.model.tie_embeddings = tied;
    const LossAndGradients truth = exact_gradients(config), one = gradients_of(config);
    EXPECT_NEAR(one.loss, truth.loss, one_rank_limit(config) * truth.loss);
    for (const auto& [name, g] : truth.gradients)
      EXPECT_LE(distance(one.gradients.at(name), g), one_rank_limit(config) * norm(g))
          << name << ": one rank itself is wrong";
    const std::string which = tied ? "tied " : "";
    expect_law_one(one, one, truth, which + "dp 1 cp 1 zigzag");  // for the table of docs/NUMERICS.md
    for (const RankLayout& layout : all_layouts_and_larger_rings()) {
      Config parted = config;
      parted.parallel = tiny_config(layout).parallel;
      expect_law_one(gradients_of(parted), one, truth, which + layout.name());
    }
  }
}

TEST(Trainer, TwentyStepsOfAnyLayoutHaveTheSameLosses) {
  const std::vector<double> one = losses_of(tiny_config({1, 1, "zigzag"}));
  EXPECT_LT(one[19], one[0] - 0.5) << "the model does not learn, so that the comparison says nothing";
  for (const RankLayout& layout : kLayouts) {
    const std::vector<double> many = losses_of(tiny_config(layout));
    for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(many[i], one[i], 1e-5 * one[i]) << layout.name() << " " << i;
  }
}

// What this model's losses have been since it exists: a change that is meant to keep them must keep them on every
// machine. The limit is what the roundings of different instruction sets may add up to over 20 steps.
TEST(Trainer, LossesAreThoseOfEarlierVersions) {
  const std::vector<double> golden = {5.56437456, 5.32299284, 4.89645833, 4.48781488, 4.07806168, 3.72380005,
                                      3.41630663, 3.18909018, 2.97324488, 2.83578350, 2.68533869, 2.51438262,
                                      2.45989037, 2.33971604, 2.20523228, 2.11148294, 2.01698045, 1.92501256,
                                      1.83384442, 1.75168323, 1.67389720};
  const std::vector<double> losses = losses_of(tiny_config({1, 2, "zigzag"}));
  ASSERT_EQ(losses.size(), golden.size());
  for (size_t i = 0; i < golden.size(); ++i) EXPECT_NEAR(losses[i], golden[i], 1e-5 * golden[i]) << "step " << i + 1;
}

int64_t bytes_of(const Config& config, const std::string& category) {
  int64_t bytes = 0;
  with_trainers(config, [&](Trainer& trainer, Group& world) {
    if (world.rank() != 0) return;
    for (const MemoryUse& use : trainer.memory())
      if (use.category == category) bytes = use.bytes;
  });
  return bytes;
}

// Of bits, memory and two recomputations of one layout.
void expect_the_same_bits(Config config) {
  const std::string what = config.train.dtype + " " + config.parallel.placement;
  const LossAndGradients kept = gradients_of(config);
  int64_t memory = bytes_of(config, "activations");
  for (const std::string mode : {"mlp", "block"}) {
    config.train.recompute = mode;
    const LossAndGradients again = gradients_of(config);
    EXPECT_EQ(again.loss, kept.loss) << mode << " " << what;
    EXPECT_EQ(again.gradients, kept.gradients) << mode << " " << what;
    const int64_t less = bytes_of(config, "activations");
    EXPECT_LT(less, memory) << mode << " " << what;
    memory = less;
  }
}

// Also where the MLP runs in tiles, whose sums are then those of every mode.
TEST(Trainer, RecomputingChangesMemoryAndNoBit) {
  for (const std::string dtype : {"f32", "bf16"})
    for (const RankLayout& layout : {RankLayout{1, 1, "zigzag"}, {1, 3, "zigzag"}, {2, 2, "striped"}})
      for (const int64_t tile : {4096, 32}) {
        Config config = tiny_config(layout);
        config.train.dtype = dtype;
        config.train.mlp_tile = tile;
        expect_the_same_bits(config);
      }
}

// Rows of whole sequences and a shorter one at the end, in sequences of a micro-batch, on rings that get unequal
// shares.
TEST(Trainer, ValidationLossIsThatOfTheWholePart) {
  const Config one = tiny_config({1, 1, "zigzag"});
  const Dataset data(one.data);
  const int64_t S = one.data.sequence_length, end = data.validation().end - 1;
  double sum = 0.0;
  for (int64_t first = data.validation().begin; first < end; first += S) {
    oracle::TokenBatch row = {1, std::min(S, end - first), {}, {}};
    for (int64_t i = first; i < first + row.S; ++i) {
      row.tokens.push_back(data.token(i));
      row.labels.push_back(data.token(i + 1));
    }
    sum += static_cast<double>(row.S) * exact(one, row).loss;
  }
  const double expected = sum / static_cast<double>(end - data.validation().begin);
  for (const RankLayout& layout : {RankLayout{1, 1, "zigzag"}, {1, 3, "striped"}, {2, 2, "contiguous"}})
    with_trainers(tiny_config(layout), [&](Trainer& trainer, Group&) {
      EXPECT_NEAR(trainer.validate().loss, expected, one_rank_limit(one) * expected) << layout.name();
    });
}

TEST(Trainer, EveryRowOfTheValidationPartIsPredictedOnce) {
  Config config = tiny_config({2, 2, "zigzag"});
  const Dataset data(config.data);
  int64_t predicted = 0;
  for (int replica = 0; replica < 2; ++replica)
    for (const ValidationRows& rows : validation_rows(data.validation(), 53, replica, 2, 2))
      predicted += rows.length * static_cast<int64_t>(rows.first_tokens.size());
  EXPECT_EQ(predicted, data.validation().size() - 1);
}

}  // namespace
}  // namespace annulus::test
