#pragma once
// What the small training should compute, by an fp64 model that shares no code with it.
#include "tests/oracle/transformer.h"
#include "tests/support/masks.h"
#include "tests/support/tiny_training.h"

namespace annulus::test {

/// The fp64 model from the same initial weights.
inline oracle::LossAndGradients exact(const Config& config, const oracle::TokenBatch& batch) {
  const ModelConfig& m = config.model;
  const oracle::TransformerShape shape = {m.layers, m.width, m.heads,          m.kv_heads,  m.head_dim,
                                          m.ffn,    m.vocab, m.tie_embeddings, m.rope_base, m.norm_epsilon};
  return oracle::loss_and_gradients(shape, initial_weights(config), batch,
                                    oracle_slices(causal_mask(batch.S, batch.S)));
}

/// Of the same first batch.
inline LossAndGradients exact_gradients(const Config& config) {
  const Dataset data(config.data);
  const int64_t S = config.data.sequence_length, B = config.data.global_batch;
  const RowOrder order(data.training(), S, static_cast<uint64_t>(config.run.seed));
  oracle::TokenBatch batch = {B, S, {}, {}};
  for (int64_t b = 0; b < B; ++b)
    for (int64_t s = 0; s < S; ++s) {
      batch.tokens.push_back(data.token(order.first_token(b) + s));
      batch.labels.push_back(data.token(order.first_token(b) + s + 1));
    }
  const auto result = exact(config, batch);
  return {result.loss, result.gradients};
}

}  // namespace annulus::test
