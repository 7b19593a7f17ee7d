#pragma once
// One rank of a run that is only planned, sized by the functions that the run itself is sized by.
#include <cstdint>
#include <vector>

#include "comm/node_map.h"
#include "runtime/config.h"
#include "runtime/dataset.h"
#include "runtime/step_memory.h"

namespace annulus {

/// The model that a config describes.
TransformerShape transformer_shape(const Config& config);

/// Of its weights and activations.
Dtype model_dtype(const Config& config);

/// Which ranks of the ring that begins with rank `first` of the world are on one node, with so many on each; 0: all.
NodeMap nodes_of_ring(int first, int ranks, int ranks_per_node);

/// The rank that holds most tokens, of the ring that has most sequences. Kernel threads are those of the calling
/// thread: each has scratch memory of its own. `ranks_per_node` is 0 where all are on one. `data` must outlive it.
class PlannedRank {
 public:
  PlannedRank(const Config& config, int ranks_per_node, const Dataset& data);
  PlannedRank(const PlannedRank&) = delete;
  PlannedRank& operator=(const PlannedRank&) = delete;

  std::vector<MemoryUse> memory();
  NodeMap nodes(int replica) const { return nodes_of_ring(replica * cp_, cp_, ranks_per_node_); }
  const Schedule* schedule() const { return batches_.largest_schedule(); }  // nullptr where documents are packed
  const Transformer& model() const { return model_; }
  const ParameterStore& parameters() const { return parameters_; }
  int64_t micro_batches() const;  // of a step

 private:
  int busiest_replica() const;
  int busiest_rank() const;
  int64_t ring_bytes() const;

  Config config_;
  int ranks_per_node_, dp_, cp_;
  int64_t data_bytes_;
  ParameterStore parameters_;
  Transformer model_;
  BatchMaker batches_;
  StepArenas arenas_;
};

/// Tokens of the longest sequence, to 1 %, with which the rank that holds most takes at most `bytes`; 0: none. Without
/// validation, whose shapes follow from the text that there is, and may take a little more.
int64_t longest_that_fits(const Config& config, int ranks_per_node, const Dataset& data, int64_t bytes);

/// Up to three changes of the config, each by itself, with which the rank that holds most takes at most `bytes`, as
/// people write them ("--train.recompute=block (1.20 GiB)"): every one was checked and planned like the run itself.
/// Empty: none of those that were tried, which takes some seconds at most, is enough.
std::vector<std::string> settings_that_fit(const Config& config, int ranks_per_node, const Dataset& data,
                                           int64_t bytes);

}  // namespace annulus
