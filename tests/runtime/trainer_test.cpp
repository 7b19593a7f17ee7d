// The law "N ranks train like one": gradients and losses of every layout of ranks beside an fp64 model that shares no
// code.
#include "runtime/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>

#include "runtime/validation_rows.h"
#include "tests/oracle/transformer.h"
#include "tests/support/masks.h"
#include "tests/support/tiny_training.h"

namespace annulus::test {
namespace {

using Gradients = std::map<std::string, std::vector<double>>;

struct LossAndGradients {
  double loss = 0.0;
  Gradients gradients;
};

LossAndGradients gradients_of(const Config& config) {
  LossAndGradients result;
  std::mutex mutex;
  with_trainers(config, [&](Trainer& trainer, Group&) {
    const double loss = trainer.compute_gradients();
    const std::lock_guard lock(mutex);
    result.loss = loss;
    const float* flat = trainer.parameters().gradients().data<float>();
    for (const ParameterRows& rows : trainer.owned_rows()) {
      const Parameter& p = trainer.parameters().parameters()[static_cast<size_t>(rows.parameter)];
      std::vector<double>& whole = result.gradients[p.name];
      whole.resize(static_cast<size_t>(p.shape.numel()));
      std::copy(flat + rows.begin, flat + rows.end, whole.begin() + (rows.begin - p.offset));
    }
  });
  return result;
}

// The same first batch through the fp64 model, from the same initial weights.
LossAndGradients exact_gradients(const Config& config) {
  oracle::Parameters weights;
  with_trainers(config, [&](Trainer& trainer, Group& world) {
    if (world.rank() != 0) return;
    const float* flat = trainer.parameters().weights().data<float>();
    for (const Parameter& p : trainer.parameters().parameters())
      weights[p.name].assign(flat + p.offset, flat + p.offset + p.shape.numel());
  });
  const Dataset data(config.data);
  const int64_t S = config.data.sequence_length, B = config.data.global_batch;
  const RowOrder order(data.training(), S, static_cast<uint64_t>(config.run.seed));
  oracle::TokenBatch batch = {B, S, {}, {}};
  for (int64_t b = 0; b < B; ++b)
    for (int64_t s = 0; s < S; ++s) {
      batch.tokens.push_back(data.token(order.first_token(b) + s));
      batch.labels.push_back(data.token(order.first_token(b) + s + 1));
    }
  const ModelConfig& m = config.model;
  const oracle::TransformerShape shape = {m.layers, m.width, m.heads,          m.kv_heads,  m.head_dim,
                                          m.ffn,    m.vocab, m.tie_embeddings, m.rope_base, m.norm_epsilon};
  const auto exact = oracle::loss_and_gradients(shape, weights, batch, oracle_slices(causal_mask(S, S)));
  return {exact.loss, exact.gradients};
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double squares = 0.0;
  for (size_t i = 0; i < a.size(); ++i) squares += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(squares);
}

double norm(const std::vector<double>& a) { return distance(a, std::vector<double>(a.size())); }

const std::vector<RankLayout> kLayouts = {{1, 2, "zigzag"},  {1, 3, "zigzag"},     {1, 4, "zigzag"},
                                          {2, 2, "zigzag"},  {1, 2, "contiguous"}, {1, 3, "striped"},
                                          {1, 4, "striped"}, {1, 4, "contiguous"}, {2, 2, "striped"},
                                          {3, 1, "zigzag"},  {4, 1, "zigzag"}};

TEST(Trainer, GradientsOfAnyLayoutAreAsExactAsThoseOfOneRank) {
  for (const bool tied : {false, true}) {
    Config config = tiny_config({1, 1, "zigzag"});
    config.model.tie_embeddings = tied;
    const LossAndGradients exact = exact_gradients(config), one = gradients_of(config);
    EXPECT_NEAR(one.loss, exact.loss, 1e-6 * exact.loss);
    for (const auto& [name, g] : exact.gradients)
      EXPECT_LE(distance(one.gradients.at(name), g), 2e-6 * norm(g)) << name << ": one rank itself is wrong";
    for (const RankLayout& layout : kLayouts) {
      Config parted = config;
      parted.parallel = tiny_config(layout).parallel;
      const LossAndGradients many = gradients_of(parted);
      const auto loss = static_cast<float>(exact.loss);  // the unit is f32's: the losses of tokens are f32
      const auto ulp = static_cast<double>(std::nextafter(loss, 2 * loss) - loss);
      EXPECT_LE(std::abs(many.loss - exact.loss), 1.5 * std::abs(one.loss - exact.loss) + 4 * ulp) << layout.name();
      ASSERT_EQ(many.gradients.size(), exact.gradients.size());
      for (const auto& [name, g] : exact.gradients) {
        const double limit = 1.5 * distance(one.gradients.at(name), g), error = distance(many.gradients.at(name), g);
        EXPECT_LE(error, limit) << layout.name() << " " << name;
        if (std::getenv("ANNULUS_PRINT_ERRORS"))
          std::cout << "gradient " << layout.name() << " " << name << " " << error << " limit " << limit << "\n";
      }
    }
  }
}

// Of 20 steps, then of the validation part.
std::vector<double> losses_of(const Config& config) {
  std::vector<double> losses;
  with_trainers(config, [&](Trainer& trainer, Group& world) {
    for (int step = 0; step < 20; ++step) {
      const StepStats stats = trainer.step();
      if (world.rank() == 0) losses.push_back(stats.loss);
    }
    const ValidationStats validation = trainer.validate();
    if (world.rank() == 0) losses.push_back(validation.loss);
  });
  return losses;
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
// machine. The limit is what oneDNN's summation orders for different instruction sets may add up to over 20 steps.
TEST(Trainer, LossesAreThoseOfEarlierVersions) {
  const std::vector<double> golden = {5.56437456, 5.32299284, 4.89645833, 4.48723923, 4.07568928, 3.71905504,
                                      3.40916756, 3.18026885, 2.96303093, 2.82482613, 2.67275940, 2.49948609,
                                      2.44030858, 2.32041732, 2.18038365, 2.09021938, 1.98273727, 1.89721262,
                                      1.79926225, 1.71741686, 1.63590980};
  const std::vector<double> losses = losses_of(tiny_config({1, 2, "zigzag"}));
  ASSERT_EQ(losses.size(), golden.size());
  for (size_t i = 0; i < golden.size(); ++i) EXPECT_NEAR(losses[i], golden[i], 1e-5 * golden[i]) << "step " << i + 1;
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
