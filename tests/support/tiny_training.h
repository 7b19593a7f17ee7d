#pragma once
// A small model on a small text: enough for laws about training.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <string>

#include "runtime/config_file.h"
#include "runtime/trainer.h"
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

}  // namespace annulus::test
