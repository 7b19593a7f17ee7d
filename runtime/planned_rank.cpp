#include "runtime/planned_rank.h"

#include <algorithm>

#include "comm/board_transport.h"
#include "comm/choose_transport.h"
#include "comm/mpi_transport.h"
#include "comm/node_transport.h"
#include "runtime/shares.h"

namespace annulus {

TransformerShape transformer_shape(const Config& config) {
  const ModelConfig& m = config.model;
  return {.layers = m.layers,
          .width = m.width,
          .heads = m.heads,
          .kv_heads = m.kv_heads,
          .head_dim = m.head_dim,
          .ffn = m.ffn,
          .vocab = m.vocab,
          .tie_embeddings = m.tie_embeddings,
          .norm_epsilon = m.norm_epsilon,
          .loss_tile = config.train.loss_tile,
          .mlp_tile = config.train.mlp_tile,
          .recompute = config.train.recompute == "block" ? Recompute::kBlock
                       : config.train.recompute == "mlp" ? Recompute::kMlp
                                                         : Recompute::kNone};
}

Dtype model_dtype(const Config& config) { return config.train.dtype == "bf16" ? Dtype::kBf16 : Dtype::kF32; }

NodeMap nodes_of_ring(int first, int ranks, int ranks_per_node) {
  std::vector<int> node_of_rank;
  for (int r = 0; r < ranks; ++r) node_of_rank.push_back(ranks_per_node == 0 ? 0 : (first + r) / ranks_per_node);
  return NodeMap(node_of_rank);
}

PlannedRank::PlannedRank(const Config& config, int ranks_per_node, const Dataset& data)
    : config_(config),
      ranks_per_node_(ranks_per_node),
      dp_(static_cast<int>(config.parallel.dp)),
      cp_(static_cast<int>(config.parallel.cp)),
      data_bytes_(data.memory_bytes()),
      parameters_(model_dtype(config)),
      model_(transformer_shape(config), parameters_),
      batches_(config_, data, model_, RingRank(busiest_rank(), cp_)) {
  batches_.expect_all(busiest_replica(), dp_);
  measure_step(model_, batches_, config.data.sequence_length, dp_ * cp_, arenas_);
}

std::vector<MemoryUse> PlannedRank::memory() {
  const std::vector<FlatRange> ranges = parameters_.owned_ranges(dp_ * cp_);
  const FlatRange& largest = *std::max_element(
      ranges.begin(), ranges.end(), [](const auto& a, const auto& b) { return a.end - a.begin < b.end - b.begin; });
  return memory_plan(parameters_, largest, ring_bytes(), batches_, arenas_, data_bytes_);
}

// Of the rank with the most buffers, in the ring whose place on the nodes asks for most.
int64_t PlannedRank::ring_bytes() const {
  const TransportSizes sizes = batches_.transport_sizes();
  int64_t most = 0;
  for (int replica = 0; replica < dp_; ++replica) {
    const NodeMap nodes = this->nodes(replica);
    const std::string kind = transport_on(nodes, config_.parallel.transport);
    if (kind == "mpi") most = std::max(most, mpi_transport_bytes(sizes));
    if (kind == "shared" || kind == "in-process") most = std::max(most, board_bytes_of_rank(sizes));
    for (int r = 0; kind == "nodes" && r < cp_; ++r) most = std::max(most, node_transport_bytes(sizes, nodes, r));
  }
  return most;
}

int64_t PlannedRank::micro_batches() const {
  int64_t count = 0;
  for_pieces(share_of(config_.data.global_batch, busiest_replica(), dp_), config_.train.micro_batch,
             [&](int64_t, int64_t) { ++count; });
  return count;
}

int PlannedRank::busiest_replica() const {
  int found = 0;
  for (int r = 1; r < dp_; ++r) {
    const Share a = share_of(config_.data.global_batch, r, dp_), b = share_of(config_.data.global_batch, found, dp_);
    if (a.end - a.begin > b.end - b.begin) found = r;
  }
  return found;
}

int PlannedRank::busiest_rank() const {
  const Placement placement = make_placement(config_.parallel.placement, config_.data.sequence_length, cp_);
  int found = 0;
  for (int r = 1; r < cp_; ++r)
    if (placement.num_tokens(r) > placement.num_tokens(found)) found = r;
  return found;
}

}  // namespace annulus
