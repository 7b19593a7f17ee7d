// Training in bf16: law one beside the fp64 model from the very same (rounded) weights, and losses beside those of f32.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/exact_training.h"

namespace annulus::test {
namespace {

const std::vector<RankLayout> kLayouts = {
    {1, 2, "zigzag"},     {1, 3, "zigzag"},  {1, 4, "zigzag"},  {1, 8, "zigzag"}, {1, 2, "contiguous"},
    {1, 3, "contiguous"}, {1, 3, "striped"}, {1, 4, "striped"}, {2, 2, "zigzag"}, {3, 1, "zigzag"}};

TEST(Bf16Training, GradientsOfAnyLayoutAreAsExactAsThoseOfOneRank) {
  for (const bool tied : {false, true}) {
    Config config = bf16_config(tiny_config({1, 1, "zigzag"}));
    config.model.tie_embeddings = tied;
    const LossAndGradients truth = exact_gradients(config), one = gradients_of(config);
    EXPECT_NEAR(one.loss, truth.loss, one_rank_limit(config) * truth.loss);
    double worst = 0.0;
    for (const auto& [name, g] : truth.gradients) {
      const double error = distance(one.gradients.at(name), g) / norm(g);
      EXPECT_LE(error, one_rank_limit(config)) << name << ": one rank itself is wrong";
      worst = std::max(worst, error);
    }
    EXPECT_GT(worst, 0x1p-11) << "these are no gradients of a model in bf16";
    const double loss_error = loss_error_in_bf16() * truth.loss;
    const std::string which = tied ? "bf16 tied " : "bf16 ";
    expect_law_one(one, one, truth, which + "dp 1 cp 1 zigzag", loss_error);  // for the table of docs/NUMERICS.md
    for (const RankLayout& layout : kLayouts) {
      Config parted = config;
      parted.parallel = tiny_config(layout).parallel;
      expect_law_one(gradients_of(parted), one, truth, which + layout.name(), loss_error);
    }
  }
}

// How far, relatively, the losses of one rank get from those of f32: the furthest of four seeds.
double furthest_from_f32(Config config) {
  double furthest = 0.0;
  for (config.run.seed = 1; config.run.seed <= 4; ++config.run.seed) {
    Config in_f32 = config;
    in_f32.train.dtype = "f32";
    const std::vector<double> rounded = losses_of(config), f32 = losses_of(in_f32);
    for (size_t i = 0; i < f32.size(); ++i) furthest = std::max(furthest, std::abs(rounded[i] - f32[i]) / f32[i]);
  }
  return furthest;
}

// Each ring rounds elsewhere, so that after some steps their roundings have nothing in common. But none may be further
// from f32 than half as much again as one rank is: two are no more than 2.5 of its largest distance apart.
TEST(Bf16Training, TwentyStepsOfAnyLayoutHaveLossesLikeThoseOfOneRank) {
  Config alone = bf16_config(tiny_config({1, 1, "zigzag"}));
  alone.train.learning_rate = 4e-3;  // the faster it learns, the more a rounding moves
  const std::vector<double> one = losses_of(alone);
  EXPECT_LT(one[19], one[0] - 0.5) << "the model does not learn, so that the comparison says nothing";
  const double furthest = furthest_from_f32(alone);
  EXPECT_LT(furthest, one_rank_limit(alone));
  double apart = 0.0;
  for (const RankLayout& layout : kLayouts) {
    Config parted = alone;
    parted.parallel = tiny_config(layout).parallel;
    const std::vector<double> many = losses_of(parted);
    for (size_t i = 0; i < one.size(); ++i) {
      EXPECT_NEAR(many[i], one[i], 2.5 * furthest * one[i]) << layout.name() << " " << i;
      apart = std::max(apart, std::abs(many[i] - one[i]) / one[i]);
    }
  }
  if (std::getenv("ANNULUS_PRINT_ERRORS"))
    std::cout << "bf16 losses: fall " << one[0] - one[19] << ", from f32 at most " << furthest
              << ", between layouts at most " << apart << "\n";
}

}  // namespace
}  // namespace annulus::test
