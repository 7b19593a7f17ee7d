// The law "N ranks train like one": gradients and losses of every layout of ranks beside an fp64 model that shares no
// code.
#include "runtime/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>

#include "runtime/config_file.h"
#include "runtime/validation_rows.h"
#include "tests/oracle/transformer.h"
#include "tests/support/masks.h"
#include "tests/support/ranks.h"

namespace annulus::test {
namespace {

using Gradients = std::map<std::string, std::vector<double>>;

struct Layout {
  int dp, cp;
  std::string placement;
  std::string name() const { return "dp " + std::to_string(dp) + " cp " + std::to_string(cp) + " " + placement; }
};

// Sentences with structure, so that a few steps lower the loss by a lot.
std::string text_file() {
  const std::string path = testing::TempDir() + "annulus_trainer_text.txt";
  std::ofstream file(path);
  for (int i = 0; i < 400; ++i) file << "the " << (i % 7) << " rings of " << (i % 5) << " ranks turn; ";
  return path;
}

Config small_config(const Layout& layout) {
  Config config = parse_config(R"(
    [model]
    layers = 2
    width = 32
    heads = 4
    kv_heads = 2
    ffn = 64
    tie_embeddings = false
    [data]
    path = ")" + text_file() + R"("
    sequence_length = 53
    global_batch = 3
    [train]
    steps = 40
    micro_batch = 2
    learning_rate = 1e-2
    warmup_steps = 2
    loss_tile = 32
    validate_every = 1
  )",
                               "test");
  config.parallel.dp = layout.dp;
  config.parallel.cp = layout.cp;
  config.parallel.placement = layout.placement;
  return config;
}

// Runs body(trainer) on dp x cp ranks as threads.
void with_trainers(const Config& config, const std::function<void(Trainer&, Group& world)>& body) {
  const ParallelDims dims = {static_cast<int>(config.parallel.dp), static_cast<int>(config.parallel.cp)};
  const Dataset data(config.data);
  run_ranks(dims.dp * dims.cp, [&](Group& world) {
    const std::unique_ptr<Group> ring = world.split(dims.replica_of(world.rank()));
    Trainer trainer(config, data, {.world = world, .ring = *ring, .dims = dims});
    body(trainer, world);
  });
}

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

const std::vector<Layout> kLayouts = {{1, 2, "zigzag"},     {1, 3, "zigzag"},  {1, 4, "zigzag"},  {2, 2, "zigzag"},
                                      {1, 2, "contiguous"}, {1, 3, "striped"}, {1, 4, "striped"}, {1, 4, "contiguous"},
                                      {2, 2, "striped"},    {3, 1, "zigzag"},  {4, 1, "zigzag"}};

TEST(Trainer, GradientsOfAnyLayoutAreAsExactAsThoseOfOneRank) {
  for (const bool tied : {false, true}) {
    Config config = small_config({1, 1, "zigzag"});
    config.model.tie_embeddings = tied;
    const LossAndGradients exact = exact_gradients(config), one = gradients_of(config);
    EXPECT_NEAR(one.loss, exact.loss, 1e-6 * exact.loss);
    for (const auto& [name, g] : exact.gradients)
      EXPECT_LE(distance(one.gradients.at(name), g), 2e-6 * norm(g)) << name << ": one rank itself is wrong";
    for (const Layout& layout : kLayouts) {
      Config parted = config;
      parted.parallel = small_config(layout).parallel;
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

TEST(Trainer, TwentyStepsOfAnyLayoutHaveTheSameLosses) {
  auto losses_of = [](const Config& config) {
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
  };
  const std::vector<double> one = losses_of(small_config({1, 1, "zigzag"}));
  EXPECT_LT(one[19], one[0] - 0.5) << "the model does not learn, so that the comparison says nothing";
  for (const Layout& layout : kLayouts) {
    const std::vector<double> many = losses_of(small_config(layout));
    for (size_t i = 0; i < one.size(); ++i) EXPECT_NEAR(many[i], one[i], 1e-5 * one[i]) << layout.name() << " " << i;
  }
}

TEST(Trainer, EveryRowOfTheValidationPartIsPredictedOnce) {
  Config config = small_config({2, 2, "zigzag"});
  const Dataset data(config.data);
  int64_t predicted = 0;
  for (int replica = 0; replica < 2; ++replica)
    for (const ValidationRows& rows : validation_rows(data.validation(), 53, replica, 2, 2))
      predicted += rows.length * static_cast<int64_t>(rows.first_tokens.size());
  EXPECT_EQ(predicted, data.validation().size() - 1);
}

}  // namespace
}  // namespace annulus::test
