// One update of the weights: the learning rate of the step, the clipped gradient of all ranks, and AdamW on owned rows.
#include "runtime/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "kernels/elementwise.h"
#include "runtime/schedule.h"
#include "tests/oracle/layers.h"
#include "tests/support/close.h"
#include "tests/support/random.h"
#include "tests/support/ranks.h"

namespace annulus::test {
namespace {

TrainConfig rates(int64_t steps, int64_t warmup, const std::string& schedule = "cosine", int64_t decay = 0) {
  TrainConfig config;
  config.schedule = schedule;
  config.decay_steps = decay;
  config.steps = steps;
  config.warmup_steps = warmup;
  config.learning_rate = 1.0;
  config.min_learning_rate = 0.1;
  return config;
}

TEST(LearningRate, RisesOverTheWarmUpAndEndsAtTheLowest) {
  const TrainConfig config = rates(14, 4);
  for (int64_t step = 0; step < 4; ++step)
    EXPECT_DOUBLE_EQ(learning_rate_at(step, config), static_cast<double>(step + 1) / 4);
  EXPECT_DOUBLE_EQ(learning_rate_at(8, config), 0.55);  // half way between step 3, the highest, and step 13
  EXPECT_DOUBLE_EQ(learning_rate_at(13, config), 0.1);
  for (int64_t step = 4; step < 14; ++step)
    EXPECT_LT(learning_rate_at(step, config), learning_rate_at(step - 1, config)) << step;
}

TEST(LearningRate, NeedsNoWarmUpAndNoFall) {
  EXPECT_DOUBLE_EQ(learning_rate_at(0, rates(3, 0)), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate_at(1, rates(3, 0)), 0.55);
  EXPECT_DOUBLE_EQ(learning_rate_at(2, rates(3, 0)), 0.1);
  EXPECT_DOUBLE_EQ(learning_rate_at(0, rates(1, 0)), 1.0);   // one step: the highest
  EXPECT_DOUBLE_EQ(learning_rate_at(2, rates(3, 3)), 1.0);   // all of it warm-up
  EXPECT_DOUBLE_EQ(learning_rate_at(2, rates(3, 30)), 0.1);  // 3 of 30 steps up
}

// learning_rate_at of every step, rounded to what a table by hand can hold.
std::vector<double> curve(const TrainConfig& config) {
  std::vector<double> values;
  for (int64_t step = 0; step < config.steps; ++step)
    values.push_back(std::round(learning_rate_at(step, config) * 1e12) / 1e12);
  return values;
}

using Curve = std::vector<double>;

TEST(LearningRate, Linear) {
  EXPECT_EQ(curve(rates(8, 2, "linear")), (Curve{0.5, 1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1}));  // 6 steps of 0.15 down
  EXPECT_EQ(curve(rates(4, 0, "linear")), (Curve{1.0, 0.7, 0.4, 0.1}));
  EXPECT_EQ(curve(rates(1, 0, "linear")), Curve{1.0});
  EXPECT_EQ(curve(rates(2, 4, "linear")), (Curve{0.25, 0.5}));  // a short try of a long run
}

TEST(LearningRate, WarmUpStableDecay) {
  EXPECT_EQ(curve(rates(9, 2, "wsd", 3)), (Curve{0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.7, 0.4, 0.1}));
  EXPECT_EQ(curve(rates(5, 2, "wsd", 3)), (Curve{0.5, 1.0, 0.7, 0.4, 0.1}));  // nothing stable: as linear
  EXPECT_EQ(curve(rates(5, 2, "wsd", 3)), curve(rates(5, 2, "linear")));
  EXPECT_EQ(curve(rates(4, 0, "wsd", 1)), (Curve{1.0, 1.0, 1.0, 0.1}));
  EXPECT_EQ(curve(rates(3, 0, "wsd", 3)), (Curve{0.7, 0.4, 0.1}));  // decays from before the first step
}

TEST(LearningRate, Constant) {
  EXPECT_EQ(curve(rates(6, 3, "constant")),
            (Curve{std::round(1e12 / 3) / 1e12, std::round(2e12 / 3) / 1e12, 1, 1, 1, 1}));
  EXPECT_EQ(curve(rates(3, 0, "constant")), (Curve{1.0, 1.0, 1.0}));
  // Exactly what was asked for, where 0.1 + (0.3 - 0.1) is not 0.3.
  TrainConfig config = rates(3, 0, "constant");
  config.learning_rate = 0.3;
  EXPECT_EQ(learning_rate_at(1, config), 0.3);
  config.schedule = "wsd", config.decay_steps = 1;
  EXPECT_EQ(learning_rate_at(1, config), 0.3);
  EXPECT_EQ(learning_rate_at(2, config), 0.1);
}

TEST(LearningRate, CosineIsTheDefault) {
  EXPECT_EQ(TrainConfig{}.schedule, "cosine");
  const Curve cosine = {0.5, 1.0, 0.868198051534, 0.55, 0.231801948466, 0.1};  // 0.1 + 0.45 (1 + cos(pi i / 4))
  EXPECT_EQ(curve(rates(6, 2)), cosine);
}

TEST(ClipFactor, BringsTheNormDownAndNeverUp) {
  EXPECT_EQ(clip_factor(4.0, 1.0), 0.25);
  EXPECT_EQ(clip_factor(1.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(1e9, 0.0), 1.0);  // 0: no clipping
}

// A matrix and a vector whose sizes no number of ranks divides.
void fill(ParameterStore& store) {
  store.add_stacked({{"matrix", {7, 5}}});
  store.add_stacked({{"vector", {11}}});
  store.allocate();
}

std::vector<double> values_of(const TensorView& view) {
  const float* x = view.data<float>();
  return {x, x + view.numel()};
}

void set(const TensorView& view, const std::vector<double>& values) {
  std::copy(values.begin(), values.end(), view.data<float>());
}

// Each rank updates what it owns and everything else stays: together that is AdamW of the whole, where only the matrix
// decays and gradients are multiplied by the factor first. A power of two as factor scales without rounding.
TEST(Optimizer, UpdatesOwnedRowsLikeAdamwOfTheWhole) {
  TrainConfig config;
  config.beta1 = 0.5;
  config.beta2 = 0.25;
  config.epsilon = 0.0078125;
  config.weight_decay = 0.5;
  const double rate = 0.125, factor = 0.25;
  const auto w0 = random_normal(35, 1), g0 = random_normal(35, 2), w1 = random_normal(11, 3), g1 = random_normal(11, 4);
  auto expected = [&](const std::vector<double>& w, std::vector<double> g, double decay, auto number) {
    for (double& x : g) x *= factor;
    using T = decltype(number);
    oracle::AdamwResult<T> r{
        .w = oracle::converted<T>(w), .m = std::vector<T>(w.size()), .v = std::vector<T>(w.size())};
    auto doubles = [](const std::vector<T>& x) { return std::vector<double>(x.begin(), x.end()); };
    for (const int64_t step : {1, 2})
      r = oracle::adamw<T>(doubles(r.w), doubles(r.m), doubles(r.v), g, {rate, 0.5, 0.25, 0.0078125, decay, step});
    return r.w;
  };
  for (const int ranks : {1, 2, 3, 5}) {
    std::vector<double> matrix(35), vector(11);
    run_ranks(ranks, [&](Group& world) {
      ParameterStore store;
      fill(store);
      set(store.weight(0), w0);
      set(store.weight(1), w1);
      set(store.gradient(0), g0);
      set(store.gradient(1), g1);
      const FlatRange mine = store.owned_ranges(ranks)[static_cast<size_t>(world.rank())];
      Optimizer optimizer(store, mine, config);
      double squares = 0.0;
      for (const double g : g0) squares += g * g;
      for (const double g : g1) squares += g * g;
      // 46 squares in sums of at most 16 f32 additions each.
      EXPECT_NEAR(global_norm(store, optimizer.owned(), world), std::sqrt(squares), 16 * 0x1p-24 * std::sqrt(squares));
      for (const int64_t step : {1, 2}) optimizer.step(rate, factor, step);
      const std::vector<double> got0 = values_of(store.weight(0)), got1 = values_of(store.weight(1));
      std::vector<bool> owned0(35), owned1(11);
      for (const ParameterRows& rows : optimizer.owned())
        for (int64_t i = rows.begin; i < rows.end; ++i)
          (rows.parameter == 0
               ? owned0
               : owned1)[static_cast<size_t>(i - store.parameters()[static_cast<size_t>(rows.parameter)].offset)] =
              true;
      for (size_t i = 0; i < 35; ++i)
        if (owned0[i])
          matrix[i] = got0[i];
        else
          EXPECT_EQ(got0[i], w0[i]) << "rank " << world.rank() << " changed what it does not own";
      for (size_t i = 0; i < 11; ++i)
        if (owned1[i])
          vector[i] = got1[i];
        else
          EXPECT_EQ(got1[i], w1[i]) << "rank " << world.rank() << " changed what it does not own";
    });
    const auto exact0 = expected(w0, g0, 0.5, 0.0), exact1 = expected(w1, g1, 0.0, 0.0);
    expect_close(matrix, exact0, twice_error_of(expected(w0, g0, 0.5, 0.0f), exact0), "matrix");
    expect_close(vector, exact1, twice_error_of(expected(w1, g1, 0.0, 0.0f), exact1), "vector");
  }
}

std::vector<float> floats_of(const TensorView& view) {
  std::vector<float> values(static_cast<size_t>(view.numel()));
  convert(TensorView(values.data(), Dtype::kF32, view.shape()), view);
  return values;
}

// The masters of bf16 weights are the f32 weights that the same updates would make, to the bit, however small an update
// is beside what bf16 can tell apart; and the weights are they, rounded.
TEST(Optimizer, MastersOfBf16WeightsAreWhatF32WeightsWouldBe) {
  TrainConfig config;
  const auto w = random_normal(46, 1), g = random_normal(46, 2);
  for (const int ranks : {1, 3}) {
    run_ranks(ranks, [&](Group& world) {
      ParameterStore f32, bf16(Dtype::kBf16);
      std::vector<std::unique_ptr<Optimizer>> optimizers;
      for (ParameterStore* store : {&f32, &bf16}) {
        fill(*store);
        set(store->gradient(0), {g.begin(), g.begin() + 35});
        set(store->gradient(1), {g.begin() + 35, g.end()});
        // Of the same rows: the two stores align their parameters differently.
        const Parameter& vector = store->parameters()[1];
        const int64_t row = 35 / ranks / 5 * 5 * world.rank();
        const FlatRange mine = {row, world.rank() + 1 == ranks ? vector.offset + 11 : row + 35 / ranks / 5 * 5};
        auto& optimizer = optimizers.emplace_back(std::make_unique<Optimizer>(*store, mine, config));
        for (const ParameterRows& rows : optimizer->owned()) {
          const auto begin = w.begin() + (rows.parameter == 0 ? rows.begin : 35 + rows.begin - vector.offset);
          set(optimizer->master(rows), {begin, begin + (rows.end - rows.begin)});
        }
        optimizer->round_masters();
        for (int64_t step = 1; step <= 5; ++step) optimizer->step(1e-4, 0.5, step);
      }
      ASSERT_EQ(optimizers[0]->owned().size(), optimizers[1]->owned().size());
      for (size_t i = 0; i < optimizers[0]->owned().size(); ++i) {
        const ParameterRows &in_f32 = optimizers[0]->owned()[i], &in_bf16 = optimizers[1]->owned()[i];
        const std::vector<float> masters = floats_of(optimizers[1]->master(in_bf16));
        EXPECT_EQ(masters, floats_of(optimizers[0]->weight(in_f32)));
        std::vector<float> rounded;
        for (const float master : masters) rounded.push_back(Bf16::from(master).to_float());
        EXPECT_EQ(floats_of(optimizers[1]->weight(in_bf16)), rounded);
        EXPECT_NE(masters, rounded);
      }
    });
  }
}

}  // namespace
}  // namespace annulus::test
