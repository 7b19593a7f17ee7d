#pragma once
// A small model on a small text: enough for laws about training.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "kernels/elementwise.h"
#include "runtime/config_file.h"
#include "runtime/trainer.h"
#include "tests/support/distance.h"
#include "tests/support/ranks.h"

namespace annulus::test {

/// How the ranks of a run are arranged.
struct RankLayout {
  int dp, cp;
  std::string placement;
  std::string name() const { return "dp " + std::to_string(dp) + " cp " + std::to_string(cp) + " " + placement; }
};

/// Sentences with structure, so that a few steps lower the loss by a lot.
inline std::string tiny_text() {
  const std::string path = testing::TempDir() + "annulus_tiny_text_" + std::to_string(getpid()) + ".txt";
  std::ofstream file(path);
  for (int i = 0; i < 400; ++i) file << "the " << (i % 7) << " rings of " << (i % 5) << " ranks turn; ";
  return path;
}

inline Config tiny_config(const RankLayout& layout) {
  Config config = parse_config(R"(
    [model]
    layers = 2
    width = 32
    heads = 4
    kv_heads = 2
    ffn = 64
    tie_embeddings = false
    [data]
    path = ")" + tiny_text() + R"("
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
                               "tiny config");
  config.parallel.dp = layout.dp;
  config.parallel.cp = layout.cp;
  config.parallel.placement = layout.placement;
  return config;
}

/// Runs body(trainer, world) on dp x cp ranks as threads.
inline void with_trainers(const Config& config, const std::function<void(Trainer&, Group& world)>& body) {
  const ParallelDims dims = {static_cast<int>(config.parallel.dp), static_cast<int>(config.parallel.cp)};
  const Dataset data(config.data);
  run_ranks(dims.dp * dims.cp, [&](Group& world) {
    const std::unique_ptr<Group> ring = world.split(dims.replica_of(world.rank()));
    Trainer trainer(config, data, {.world = world, .ring = *ring, .dims = dims});
    body(trainer, world);
  });
}

/// What the loss and the gradients of one rank may be off by, relatively: a number passes through about 32 operations
/// one after the other on its way through two blocks and back (norm, projection, rotation, scores, weights, values,
/// projection, sum; norm, gate, product, projection, sum), each of which may round by 2^-24 (bf16: 2^-8), and all in
/// one direction.
inline double one_rank_limit(const Config& config) { return 32 * (config.train.dtype == "bf16" ? 0x1p-8 : 0x1p-24); }

struct LossAndGradients {
  double loss = 0.0;
  std::map<std::string, std::vector<double>> gradients;
};

/// Of the first batch, put together from all ranks.
inline LossAndGradients gradients_of(const Config& config) {
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

/// Of 20 steps, then of the validation part.
inline std::vector<double> losses_of(const Config& config) {
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

/// As the model holds them: bf16 ones were rounded.
inline std::map<std::string, std::vector<double>> initial_weights(const Config& config) {
  std::map<std::string, std::vector<double>> weights;
  with_trainers(config, [&](Trainer& trainer, Group& world) {
    if (world.rank() != 0) return;
    const TensorView& flat = trainer.parameters().weights();
    std::vector<float> values(static_cast<size_t>(flat.numel()));
    convert(TensorView(values.data(), Dtype::kF32, flat.shape()), flat);
    for (const Parameter& p : trainer.parameters().parameters())
      weights[p.name].assign(values.begin() + p.offset, values.begin() + p.offset + p.shape.numel());
  });
  return weights;
}

/// The law "N ranks train like one": no parameter's gradient is more than 1.5 times as far from the exact one as that
/// of one rank, and neither is the loss (or than `one_loss_error`, where given), but for 4 units in the last place.
inline void expect_law_one(const LossAndGradients& many, const LossAndGradients& one, const LossAndGradients& exact,
                           const std::string& what, std::optional<double> one_loss_error = std::nullopt) {
  const auto loss = static_cast<float>(exact.loss);  // the unit is f32's: the losses of tokens are f32
  const auto ulp = static_cast<double>(std::nextafter(loss, 2 * loss) - loss);
  const double loss_limit = 1.5 * one_loss_error.value_or(std::abs(one.loss - exact.loss)) + 4 * ulp,
               loss_error = std::abs(many.loss - exact.loss);
  EXPECT_LE(loss_error, loss_limit) << what;
  if (std::getenv("ANNULUS_PRINT_ERRORS"))
    std::cout << "law one, " << what << ": loss " << loss_error << " limit " << loss_limit << " of " << exact.loss
              << "\n";
  ASSERT_EQ(many.gradients.size(), exact.gradients.size()) << what;
  for (const auto& [name, g] : exact.gradients) {
    const double limit = 1.5 * distance(one.gradients.at(name), g), error = distance(many.gradients.at(name), g);
    EXPECT_LE(error, limit) << what << " " << name;
    if (std::getenv("ANNULUS_PRINT_ERRORS"))
      std::cout << "law one, " << what << ": " << name << " " << error << " limit " << limit << " of " << norm(g)
                << "\n";
  }
}

}  // namespace annulus::test
