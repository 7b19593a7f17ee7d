#include "runtime/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "comm/agree.h"
#include "comm/board_transport.h"
#include "comm/choose_transport.h"
#include "comm/mpi_transport.h"
#include "kernels/elementwise.h"
#include "runtime/config_file.h"
#include "runtime/core/memory.h"
#include "runtime/planned_rank.h"
#include "runtime/schedule.h"
#include "runtime/shares.h"
#include "runtime/version.h"

namespace annulus {

Trainer::Trainer(const Config& config, const Dataset& data, const Ranks& ranks)
    : config_(config),
      data_(data),
      ranks_(ranks),
      parameters_(model_dtype(config)),
      model_(transformer_shape(config), parameters_),
      batches_(config_, data, model_, ranks.ring),
      row_order_(data.training(), config.data.sequence_length, static_cast<uint64_t>(config.run.seed)),
      ranges_(parameters_.owned_ranges(ranks.world.size())) {
  state_ = {.run_name = config.run.name,
            .code_version = version_text(),
            .config_text = config_text(config),
            .seed = config.run.seed,
            .data_digest = data.digest(),
            .tokenizer_digest = data.tokenizer() ? data.tokenizer()->digest() : ""};
  batches_.expect_all(ranks.dims.replica_of(ranks.world.rank()), ranks.dims.dp);
  measure_memory();
  allocate();
}

void Trainer::measure_memory() {
  measure_step(model_, batches_, config_.data.sequence_length, ranks_.world.size(), arenas_);
  // Before any rank that shares the process takes more.
  const MemoryUse program = {kProgramMemory, std::max<int64_t>(0, memory_of_rank() - data_.memory_bytes())};
  const TransportSizes sizes = batches_.transport_sizes();
  const auto plan_with = [&](int64_t ring_bytes) {
    memory_ = memory_plan(parameters_, ranges_[static_cast<size_t>(ranks_.world.rank())], ring_bytes, batches_, arenas_,
                          data_.memory_bytes());
    memory_.insert(memory_.begin(), program);
  };
  // Which ranks share memory is found out with the transport; until then, whatever is the larger.
  plan_with(config_.parallel.transport == "mpi" ? mpi_transport_bytes(sizes)
                                                : std::max(mpi_transport_bytes(sizes), board_bytes_of_rank(sizes)));
  require_memory_fits();
  // What one ring lacks (shared memory, a common node), the others do not know.
  agree(ranks_.world, [&] { transport_ = choose_transport(config_.parallel.transport, sizes, ranks_.ring); });
  plan_with(transport_->bytes());
  require_memory_fits();
}

// Collective. The lowest rank that lacks memory looks for a way out, while the others wait for it.
void Trainer::require_memory_fits() const {
  const int64_t needed = bytes_to_take(memory_);
  // The dataset is needed, too, and there already.
  const int64_t available = available_memory() / ranks_.ranks_per_node + data_.memory_bytes();
  const std::vector<int64_t> lacking =
      ranks_.world.all_gather(std::max<int64_t>(0, needed - available), "memory needed");
  const auto first = std::find_if(lacking.begin(), lacking.end(), [](int64_t bytes) { return bytes > 0; });
  if (first == lacking.end()) return;
  agree(ranks_.world, [&] {
    if (ranks_.world.rank() != first - lacking.begin()) return;
    const std::vector<std::string> settings = settings_that_fit(config_, ranks_.ranks_per_node, data_, available);
    fail(ExitCode::kMemory, "this run needs ", human_bytes(needed), " per rank (", memory_text(memory_),
         ") but this node has ", human_bytes(available), " left for each rank (", ranks_.ranks_per_node, " here); ",
         settings.empty() ? "none of the settings that were tried is enough by itself: take a smaller model "
                            "(model.layers, model.width), or change several of train.recompute, train.micro_batch, "
                            "parallel.cp and data.sequence_length"
                          : concat("each of these would fit: ", fmt::format("{}", fmt::join(settings, "; "))));
  });
}

void Trainer::allocate() {
  parameters_.allocate();
  for (Arena* arena : arenas_.all()) arena->commit();
  batches_.prepare();
  const FlatRange& mine = ranges_[static_cast<size_t>(ranks_.world.rank())];
  optimizer_ = std::make_unique<Optimizer>(parameters_, mine, config_.train);
  for (const ParameterRows& rows : optimizer_->owned())
    parameters_.draw(optimizer_->master(rows), rows, static_cast<uint64_t>(config_.run.seed));
  optimizer_->round_masters();
  gather_weights();
  note_memory(memory_of_rank());
}

void Trainer::gather_weights() {
  all_gather(parameters_.weights().raw(), size_of(parameters_.dtype()), ranges_, ranks_.world);
}

// No more than a few MiB on a rank, and no file that a browser could not open, however long the run's rings and layers.
void Trainer::begin_recording() {
  constexpr int64_t kMost = int64_t{1} << 15, kMostOfAllRanks = int64_t{1} << 20, kLeast = int64_t{1} << 12;
  constexpr int64_t kPerVisit = 8, kPerLayer = 16, kPerBatch = 16;  // above what can occur
  const int64_t visits = 2 * ranks_.ring.size() * kPerVisit;
  const int64_t batches = config_.data.global_batch / (config_.train.micro_batch * ranks_.dims.dp) + 2;
  const int64_t most = std::clamp(kMostOfAllRanks / ranks_.world.size(), kLeast, kMost);
  const int64_t wanted = (batches + 1) * (config_.model.layers * (visits + kPerLayer) + kPerBatch);
  timeline_ = std::make_unique<Timeline>(std::min(wanted, most));
  transport_->record_in(timeline_.get());
}

std::unique_ptr<const Timeline> Trainer::end_recording() {
  transport_->record_in(nullptr);
  return std::move(timeline_);
}

double Trainer::compute_gradients() {
  const int64_t S = config_.data.sequence_length, sequences = config_.data.global_batch;
  int64_t labels = 0;  // of the global batch
  for (int64_t i = 0; i < sequences; ++i) labels += batches_.num_labels(S, row_order_.first_token(state_.rows + i));
  const double gradient_scale = 1.0 / static_cast<double>(std::max<int64_t>(1, labels));
  double loss = 0.0;
  flops_ = 0.0;
  Workspace memory = workspace();
  fill_zero(parameters_.gradients());
  const Share share = share_of(sequences, ranks_.dims.replica_of(ranks_.world.rank()), ranks_.dims.dp);
  int micro_batch = 0;
  for_pieces(share, config_.train.micro_batch, [&](int64_t first, int64_t count) {
    std::vector<int64_t> first_tokens;
    for (int64_t i = first; i < first + count; ++i) first_tokens.push_back(row_order_.first_token(state_.rows + i));
    const Arena::Scope scope(arenas_.batches);
    const Mark mark(timeline_.get(), {.activity = Activity::kMicroBatch, .micro_batch = micro_batch++});
    const MicroBatch made = batches_.make(S, first_tokens, arenas_.batches);
    const LossResult result = model_.forward(made.batch, LossGradient::kYes, gradient_scale, memory);
    model_.backward(made.batch, result, memory);
    loss += result.sum;
    flops_ += made.flops;
  });
  const Mark mark(timeline_.get(), Activity::kReduceScatter);
  const Arena::Scope scope(arenas_.reduction);
  const TensorView addends = arenas_.reduction.take({reduce_scratch_floats(ranks_.world.size())});
  reduce_scatter(parameters_.gradients().data<float>(), ranges_, ranks_.world, addends.data<float>());
  return gradient_scale * ranks_.world.sum(loss, "the loss");
}

StepStats Trainer::step() {
  const int64_t begin = Timeline::now();
  Mark whole_step(timeline_.get(), {.activity = Activity::kStep, .begin = begin});
  const double waited = transport_->counters().wait_seconds;
  const int64_t tokens = config_.data.global_batch * config_.data.sequence_length;
  const double rate = learning_rate_at(state_.step, config_.train);

  const double loss = compute_gradients();
  std::optional<Mark> mark(std::in_place, timeline_.get(), Activity::kOptimizer);
  const double norm = global_norm(parameters_, optimizer_->owned(), ranks_.world);
  if (!std::isfinite(loss) || !std::isfinite(norm))
    throw AgreedError(ExitCode::kNumbers,
                      concat("step ", state_.step + 1, ": loss is ", loss, " and the gradient norm ", norm,
                             "; lower train.learning_rate or train.max_grad_norm and resume from the last checkpoint"));
  optimizer_->step(rate, clip_factor(norm, config_.train.max_grad_norm), state_.step + 1);
  mark.emplace(timeline_.get(), Activity::kAllGather);
  gather_weights();
  mark.reset();

  state_.step += 1;
  state_.tokens += tokens;
  state_.rows += config_.data.global_batch;
  update_peak_memory();
  const int64_t end = Timeline::now();
  whole_step.close(end);
  const double seconds = 1e-9 * static_cast<double>(end - begin);
  const double wait = (transport_->counters().wait_seconds - waited) / seconds;
  const double flops = ranks_.world.sum(ranks_.ring.rank() == 0 ? flops_ : 0.0, "the work of every ring");
  return {.step = state_.step,
          .tokens = state_.tokens,
          .loss = loss,
          .grad_norm = norm,
          .learning_rate = rate,
          .seconds = seconds,
          .tokens_per_second = static_cast<double>(tokens) / seconds,
          .mfu = ranks_.peak_flops > 0.0 ? flops / seconds / ranks_.peak_flops : 0.0,
          .wait_fraction = ranks_.world.sum(wait, "the waiting times") / ranks_.world.size(),
          .peak_memory_bytes = peak_memory_};
}

ValidationStats Trainer::validate() {
  constexpr int64_t kParts = 16;                  // of the sequence, for the loss by position
  std::vector<double> sums(2 * kParts + 1, 0.0);  // nats, then labels, then bytes of labels
  const int64_t S = config_.data.sequence_length;
  const Tokenizer* tokenizer = data_.tokenizer();
  Workspace memory = workspace();
  for (const ValidationRows& rows :
       batches_.rows_to_validate(ranks_.dims.replica_of(ranks_.world.rank()), ranks_.dims.dp)) {
    const Arena::Scope scope(arenas_.batches);
    const MicroBatch made = batches_.make(rows.length, rows.first_tokens, arenas_.batches);
    const LossResult result = model_.forward(made.batch, LossGradient::kNo, 1.0, memory);
    const float* loss = result.per_token_BT.data<float>();
    const int32_t* label = made.batch.labels_BT.data<int32_t>();
    for (int64_t b = 0; b < made.batch.labels_BT.dim(0); ++b)
      for (const int64_t position : made.positions) {
        const auto part = static_cast<size_t>(position * kParts / S);
        sums[part] += static_cast<double>(*loss++);
        if (*label >= 0) {
          sums[part + kParts] += 1.0;
          if (tokenizer) sums[2 * kParts] += static_cast<double>(tokenizer->bytes_of(*label));
        }
        ++label;
      }
  }
  ranks_.world.sum_in_place(sums, "the validation loss");
  ValidationStats stats;
  stats.step = state_.step;
  double total = 0.0, labels = 0.0;
  for (size_t part = 0; part < kParts; ++part) {
    stats.loss_by_position.push_back(sums[part] / sums[part + kParts]);
    total += sums[part];
    labels += sums[part + kParts];
  }
  stats.loss = total / labels;
  if (tokenizer && !tokenizer->is_bytes()) stats.loss_per_byte = total / sums[2 * kParts];
  return stats;
}

// Reading it takes a moment where a process is large: the first steps, when memory is first touched, and then now and
// again.
void Trainer::update_peak_memory() {
  constexpr int64_t kEvery = 50;
  if (++steps_since_start_ <= 3 || steps_since_start_ % kEvery == 0) note_memory(memory_of_rank());
}

// Of ranks that are threads of one process, each has an equal part.
int64_t Trainer::memory_of_rank() const {
  const int64_t sharers = ranks_.world.is_of_threads() ? ranks_.world.size() : 1;
  return memory_held() / sharers;
}

void Trainer::note_memory(int64_t mine) {
  peak_memory_ = std::max(peak_memory_, ranks_.world.sum(mine, "the memory in use"));
}

// What training goes on from, with the names that it has in a checkpoint of a model of this dtype.
std::vector<TensorRows> Trainer::owned_state(Dtype dtype) const {
  const std::string master_group = dtype == Dtype::kF32 ? "/model/" : "/master/";
  std::vector<TensorRows> tensors;
  for (const ParameterRows& rows : optimizer_->owned()) {
    add_tensor(tensors, master_group, rows, optimizer_->master(rows));
    add_tensor(tensors, "/optimizer/m/", rows, optimizer_->m(rows));
    add_tensor(tensors, "/optimizer/v/", rows, optimizer_->v(rows));
  }
  return tensors;
}

void Trainer::add_tensor(std::vector<TensorRows>& tensors, const std::string& group, const ParameterRows& rows,
                         const TensorView& values) const {
  const Parameter& p = parameters_.parameters()[static_cast<size_t>(rows.parameter)];
  tensors.push_back({group + p.name, p.shape, rows.first_row, rows.rows, values.raw(), values.dtype()});
}

SavedCheckpoint Trainer::save(const std::string& run_directory) {
  int64_t held = 0;
  std::vector<TensorRows> tensors = owned_state(parameters_.dtype());
  // The weights that the masters round to: what the model is to everyone who does not train it further.
  if (parameters_.dtype() != Dtype::kF32)
    for (const ParameterRows& rows : optimizer_->owned())
      add_tensor(tensors, "/model/", rows, optimizer_->weight(rows));
  const SavedCheckpoint saved =
      save_checkpoint(run_directory, state_, tensors, ranks_.world, [&] { held = std::max(held, memory_of_rank()); });
  note_memory(held);
  if (saved.ok && ranks_.world.rank() == 0) delete_old_checkpoints(run_directory, state_, config_.checkpoint.keep);
  return saved;
}

void Trainer::load(const std::string& checkpoint, const RunState& state, Dtype saved_dtype) {
  load_checkpoint(checkpoint, owned_state(saved_dtype), ranks_.world);
  optimizer_->round_masters();
  gather_weights();
  state_.step = state.step;
  state_.tokens = state.tokens;
  state_.rows = state.rows;
}

}  // namespace annulus
