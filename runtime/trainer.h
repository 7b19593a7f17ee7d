#pragma once
// The training loop: data in, gradients around the ring and over the ranks, parameters and checkpoints out.
#include <memory>
#include <string>
#include <vector>

#include "comm/parallel_dims.h"
#include "comm/transport.h"
#include "model/transformer.h"
#include "runtime/batch_maker.h"
#include "runtime/checkpoint.h"
#include "runtime/core/timeline.h"
#include "runtime/dataset.h"
#include "runtime/metrics.h"
#include "runtime/optimizer.h"
#include "runtime/step_memory.h"

namespace annulus {

/// The ranks of a run and what the machine gives them.
struct Ranks {
  Group& world;
  Group& ring;  // this rank's cp group
  ParallelDims dims;
  int ranks_per_node = 1;
  double peak_flops = 0.0;  // per second, of all cores in use by all ranks
};

class Trainer {
 public:
  /// Collective. Builds the model, measures every arena by running a step on tensors without memory, checks that it
  /// fits (71 on every rank, naming settings that would), and only then takes the memory. Parameters are drawn from the
  /// seed. `data` must outlive it.
  Trainer(const Config& config, const Dataset& data, const Ranks& ranks);

  /// Collective. One update from data.global_batch sequences. Throws AgreedError (76) if loss or gradient is not
  /// finite: the parameters are then those before the step.
  StepStats step();

  /// From here to end_recording(), what this rank does when is recorded: meant for one step. Takes memory, which goes
  /// with what end_recording() returns.
  void begin_recording();
  std::unique_ptr<const Timeline> end_recording();

  /// Collective. The first half of step(): the loss of the next global batch (nats per token, the same on every rank),
  /// with the gradient of the rows that this rank owns, summed over all ranks, in parameters().
  double compute_gradients();

  /// Collective. The loss over the whole validation part, in rows of data.sequence_length.
  ValidationStats validate();

  /// Collective. See save_checkpoint(). Once that is done, checkpoints beyond checkpoint.keep are deleted.
  SavedCheckpoint save(const std::string& run_directory);

  /// Collective. Continues from a checkpoint whose state is given (the same on every rank), of a model that was trained
  /// in `saved_dtype`, which need not be this one's. Throws UserError (66).
  void load(const std::string& checkpoint, const RunState& state, Dtype saved_dtype);

  const RunState& state() const { return state_; }
  const std::vector<MemoryUse>& memory() const { return memory_; }  // planned, of this rank
  int64_t peak_memory() const { return peak_memory_; }              // held, of all ranks (memory_held())
  const ParameterStore& parameters() const { return parameters_; }
  const std::vector<ParameterRows>& owned_rows() const { return optimizer_->owned(); }
  const Transport& transport() const { return *transport_; }

 private:
  void measure_memory();
  void require_memory_fits() const;
  void allocate();
  Workspace workspace() { return {arenas_.activations, arenas_.scratch, transport_.get()}; }
  void gather_weights();
  std::vector<TensorRows> owned_state(Dtype dtype) const;
  void add_tensor(std::vector<TensorRows>& tensors, const std::string& group, const ParameterRows& rows,
                  const TensorView& values) const;
  int64_t memory_of_rank() const;
  void note_memory(int64_t mine);
  void update_peak_memory();

  Config config_;
  const Dataset& data_;
  Ranks ranks_;
  ParameterStore parameters_;
  Transformer model_;
  BatchMaker batches_;
  RowOrder row_order_;
  std::vector<FlatRange> ranges_;  // who owns what of the flat buffers
  std::unique_ptr<Optimizer> optimizer_;
  StepArenas arenas_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Timeline> timeline_;  // while a step is recorded
  std::vector<MemoryUse> memory_;
  RunState state_;
  double flops_ = 0.0;  // of this ring's last batch
  int64_t steps_since_start_ = 0, peak_memory_ = 0;
};

}  // namespace annulus
