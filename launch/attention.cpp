// annulus attention: ring attention, forward and backward, over the ranks it is started with, on tensors from a file.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <limits>
#include <vector>

#include "comm/agree.h"
#include "comm/choose_transport.h"
#include "kernels/cpu/isa.h"
#include "kernels/elementwise.h"
#include "launch/commands.h"
#include "launch/output_path.h"
#include "launch/rank_env.h"
#include "model/ring_attention.h"
#include "runtime/core/capabilities.h"
#include "runtime/core/log.h"
#include "runtime/core/memory.h"
#include "runtime/hdf5_file.h"

namespace annulus {
namespace {

// What the input file asks for.
struct Problem {
  int64_t B, Sq, Sk;
  RingHeads heads;
  Mask mask;
  float softmax_scale;
};

std::vector<float> zeros(int64_t n) { return std::vector<float>(static_cast<size_t>(n)); }

Shape shape_of(const Hdf5Reader& file, const std::string& path, const std::string& name, const char* dims) {
  require(ExitCode::kData, file.has(name), path, ": there is no dataset '", name, "'; it must hold q, k, v and dout");
  require(ExitCode::kData, file.dtype(name) == Dtype::kF32, path, ": '", name, "' is not float32; convert it");
  const Shape shape = file.shape(name);
  bool ok = shape.rank() == 4;
  for (int i = 0; ok && i < 4; ++i) ok = shape[i] > 0;
  require(ExitCode::kData, ok, path, ": '", name, "' has shape ", shape.text(), ", expected ", dims, ", none zero");
  return shape;
}

Mask read_mask(const Hdf5Reader& file, const std::string& path, int64_t Sq, int64_t Sk) {
  if (!file.has("mask_slices")) return causal_mask(Sq, Sk);
  const Shape shape = file.shape("mask_slices");
  require(ExitCode::kData, file.dtype("mask_slices") == Dtype::kI64 && shape.rank() == 2 && shape[1] == 6, path,
          ": 'mask_slices' must be int64 of shape (n, 6): q0, q1, k0, k1, lo, hi; it has shape ", shape.text());
  std::vector<int64_t> numbers(static_cast<size_t>(shape.numel()));
  if (!numbers.empty()) file.read("mask_slices", {0, 0}, shape, numbers.data());
  Mask mask;
  for (size_t i = 0; i < numbers.size(); i += 6)
    mask.push_back({numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3], numbers[i + 4], numbers[i + 5]});
  require_valid(mask, Sq, Sk);
  return mask;
}

Problem read_problem(const Hdf5Reader& file, const std::string& path) {
  const Shape q = shape_of(file, path, "q", "(B, S, H, D)"), k = shape_of(file, path, "k", "(B, Sk, K, D)");
  const Shape v = shape_of(file, path, "v", "(B, Sk, K, Dv)"), dout = shape_of(file, path, "dout", "(B, S, H, Dv)");
  require(ExitCode::kData, k[0] == q[0] && k[3] == q[3], path, ": k is ", k.text(), " but q is ", q.text(),
          "; B and D must agree");
  require(ExitCode::kData, v[0] == k[0] && v[1] == k[1] && v[2] == k[2], path, ": v is ", v.text(), " but k is ",
          k.text(), "; B, Sk and K must agree");
  require(ExitCode::kData, dout == Shape({q[0], q[1], q[2], v[3]}), path, ": dout is ", dout.text(), ", expected ",
          Shape({q[0], q[1], q[2], v[3]}).text(), ", the shape of the output: B, S and H of q, Dv of v");
  Problem problem = {q[0], q[1], k[1], {q[0], q[2], k[2], q[3], v[3]}, {}, 0.0f};
  require_supported({q[0], q[1], k[1], q[2], k[2], q[3], v[3]}, path, ExitCode::kData);
  problem.mask = read_mask(file, path, problem.Sq, problem.Sk);
  const double scale = file.number_attribute("softmax_scale").value_or(1.0 / std::sqrt(static_cast<double>(q[3])));
  require(ExitCode::kData, std::isfinite(scale), path,
          ": softmax_scale is not finite; write a number, or leave the attribute out for 1 / sqrt(D)");
  problem.softmax_scale = static_cast<float>(scale);
  return problem;
}

// A rank's tensors and, on rank 0, a whole result, as doubles: what a file declares may be more than 64 bits can count.
void require_memory(const Problem& problem, const std::string& path, const Group& world, const NodeShare& share) {
  const auto& n = problem.heads;
  const auto B = static_cast<double>(n.B), Sq = static_cast<double>(problem.Sq), Sk = static_cast<double>(problem.Sk);
  const auto D = static_cast<double>(n.Dqk + n.Dv), widest = static_cast<double>(std::max(n.Dqk, n.Dv));
  const double queries = B * Sq * static_cast<double>(n.H), keys = B * Sk * static_cast<double>(n.K);
  const double mine = 2 * (queries + keys) * D / world.size();  // q, out, k, v and their gradients
  const double copies = n.dtype == Dtype::kF32 ? 0.0 : 0.5 * mine;
  const double bytes = (mine + copies + (world.rank() == 0 ? std::max(queries, keys) * widest : 0.0)) * sizeof(float);
  const double available = static_cast<double>(available_memory()) / share.ranks_per_node;
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  require(ExitCode::kMemory, bytes <= available, path, fmt::format(": its tensors need {:.1f} GiB", bytes / kGib),
          " on this rank, but ", fmt::format("{:.1f} GiB", available / kGib),
          " are left for each rank of the node; use ", "fewer tokens or more nodes");
}

// (B, T, heads, D): the tokens of `segments`, in local order. Refuses what is not finite.
std::vector<float> read_tokens(const Hdf5Reader& file, const std::string& path, const std::string& name,
                               const std::vector<Segment>& segments, int64_t tokens) {
  constexpr int64_t kTokensAtOnce = 1024;
  const Shape shape = file.shape(name);
  const int64_t row = shape[2] * shape[3];
  std::vector<float> all = zeros(shape[0] * tokens * row), part;
  float* out = all.data();
  for (int64_t b = 0; b < shape[0]; ++b)
    for (const Segment& s : segments)
      for (int64_t first = 0; first < s.count; first += kTokensAtOnce) {
        const int64_t count = std::min(kTokensAtOnce, s.count - first), span = (count - 1) * s.stride + 1;
        part.resize(static_cast<size_t>(span * row));
        file.read(name, {b, s.begin + first * s.stride, 0, 0}, {1, span, shape[2], shape[3]}, part.data());
        for (int64_t i = 0; i < count; ++i) out = std::copy_n(part.data() + i * s.stride * row, row, out);
      }
  require(ExitCode::kData, std::all_of(all.begin(), all.end(), [](float x) { return std::isfinite(x); }), path, ": '",
          name, "' holds values that are not finite; attention of them would be NaN");
  return all;
}

// This rank's tensors, as the files hold them.
struct LocalTensors {
  std::vector<float> q, k, v, dout, out, lse_parts, lse, dq, dk, dv;
};

struct Timing {
  std::vector<double> forward, backward, wait;
};

class AttentionRun {
 public:
  AttentionRun(const AttentionCommand& options, const Problem& problem, Group& world)
      : options_(options),
        problem_(problem),
        world_(world),
        queries_(make_placement(options.placement, problem.Sq, world.size())),
        keys_(make_placement(options.placement, problem.Sk, world.size())),
        schedule_(make_flat_ring(queries_, keys_, problem.mask, problem.heads, world.rank(), attention_query_block())),
        transport_(
            choose_transport(options.transport, annulus::transport_sizes(keys_, problem.heads, world.rank()), world)) {}

  void read(const Hdf5Reader& file) {
    const int r = world_.rank();
    const int64_t Tq = queries_.num_tokens(r), Tk = keys_.num_tokens(r);
    local_.q = read_tokens(file, options_.in, "q", queries_.segments(r), Tq);
    local_.k = read_tokens(file, options_.in, "k", keys_.segments(r), Tk);
    local_.v = read_tokens(file, options_.in, "v", keys_.segments(r), Tk);
    local_.dout = read_tokens(file, options_.in, "dout", queries_.segments(r), Tq);
    local_.out = zeros(static_cast<int64_t>(local_.dout.size()));
    local_.lse = zeros(problem_.B * problem_.heads.H * Tq);
    local_.lse_parts = zeros(2 * static_cast<int64_t>(local_.lse.size()));
    local_.dq = zeros(static_cast<int64_t>(local_.q.size()));
    local_.dk = zeros(static_cast<int64_t>(local_.k.size()));
    local_.dv = zeros(static_cast<int64_t>(local_.v.size()));
  }

  void run() {
    pass(true);
    scratch_.commit();
    for (int i = 0; i < options_.repeat; ++i) {
      transport_->reset_counters();
      pass(false);
      timing_.wait.push_back(transport_->counters().wait_seconds);
    }
  }

  void require_finite() const;
  void write();
  void report() const;

 private:
  void pass(bool measure);
  void collect(Hdf5Writer* file, const std::string& name, const Shape& whole, const Placement& placement,
               const std::vector<float>& mine, bool tokens_last);
  void write_attributes(Hdf5Writer* file);

  const AttentionCommand& options_;
  const Problem& problem_;
  Group& world_;
  Placement queries_, keys_;
  Schedule schedule_;
  std::unique_ptr<Transport> transport_;
  Arena scratch_{"scratch"};
  LocalTensors local_;
  Timing timing_;
};

// Forward and backward, each timed between barriers; on tensors without memory it measures the scratch arena. Tensors
// of another dtype than the files' are copies.
void AttentionRun::pass(bool measure) {
  const auto& n = problem_.heads;
  const int64_t Tq = queries_.num_tokens(world_.rank()), Tk = keys_.num_tokens(world_.rank());
  const Arena::Scope scope(scratch_);
  std::vector<std::pair<TensorView, TensorView>> copies;  // of results, and where they go
  auto view = [&](std::vector<float>& x, const Shape& shape) {
    return TensorView(x.data(), Dtype::kF32, shape, measure ? Device::kShape : Device::kCpu);
  };
  auto model_view = [&](std::vector<float>& x, const Shape& shape) {
    const TensorView wide = view(x, shape);
    if (n.dtype == Dtype::kF32) return wide;
    const TensorView copy = scratch_.take(shape, n.dtype);
    convert(copy, wide);
    return copy;
  };
  auto result_view = [&](std::vector<float>& x, const Shape& shape) {
    const TensorView copy = model_view(x, shape);
    if (n.dtype != Dtype::kF32) copies.emplace_back(copy, view(x, shape));
    return copy;
  };
  const TensorView q = model_view(local_.q, {n.B, Tq, n.H, n.Dqk}), dq = result_view(local_.dq, q.shape());
  const TensorView k = model_view(local_.k, {n.B, Tk, n.K, n.Dqk}), dk = result_view(local_.dk, k.shape());
  const TensorView v = model_view(local_.v, {n.B, Tk, n.K, n.Dv}), dv = result_view(local_.dv, v.shape());
  const TensorView dout = model_view(local_.dout, {n.B, Tq, n.H, n.Dv}), out = result_view(local_.out, dout.shape());
  const TensorView lse = view(local_.lse, {n.B, n.H, Tq}), lse_parts = view(local_.lse_parts, {2, n.B, n.H, Tq});
  const AttentionOptions options = {problem_.softmax_scale};
  Transport* transport = measure ? nullptr : transport_.get();
  auto timed = [&](std::vector<double>& seconds, auto&& work) {
    if (measure) return work();
    world_.barrier("the other ranks to start");
    const auto begin = std::chrono::steady_clock::now();
    work();
    world_.barrier("the other ranks to finish");
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  };
  timed(timing_.forward,
        [&] { ring_attention_forward(out, lse_parts, q, k, v, schedule_, options, transport, scratch_); });
  timed(timing_.backward, [&] {
    ring_attention_prefetch(k, v, schedule_, transport);
    ring_attention_backward(dq, dk, dv, q, out, lse_parts, dout, schedule_, options, transport, scratch_);
  });
  natural_lse(lse, lse_parts);
  for (const auto& [from, to] : copies) convert(to, from);
}

// Puts every rank's part of a result into global token order on rank 0. The tokens are dimension 1 of `whole`, or its
// last.
void AttentionRun::collect(Hdf5Writer* file, const std::string& name, const Shape& whole, const Placement& placement,
                           const std::vector<float>& mine, bool tokens_last) {
  const char* what = "the results";
  if (world_.rank() != 0) {
    const Group::Outgoing send = {0, mine.data(), static_cast<int64_t>(mine.size() * sizeof(float))};
    return world_.exchange({&send, 1}, {}, what);
  }
  std::vector<float> all = zeros(whole.numel()), theirs;
  const int64_t S = tokens_last ? whole[2] : whole[1];
  const int64_t outer = tokens_last ? whole[0] * whole[1] : whole[0], row = whole.numel() / (outer * S);
  for (int r = 0; r < world_.size(); ++r) {
    const std::vector<int64_t> positions = placement.positions(r);
    const auto T = static_cast<int64_t>(positions.size());
    if (r > 0) {
      theirs.resize(static_cast<size_t>(outer * T * row));
      const Group::Incoming receive = {r, theirs.data(), static_cast<int64_t>(theirs.size() * sizeof(float))};
      world_.exchange({}, {&receive, 1}, what);
    }
    const std::vector<float>& part = r == 0 ? mine : theirs;
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t t = 0; t < T; ++t)
        std::copy_n(&part[static_cast<size_t>((o * T + t) * row)], row,
                    &all[static_cast<size_t>((o * S + positions[static_cast<size_t>(t)]) * row)]);
  }
  file->write(name, whole, all.data());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void AttentionRun::write_attributes(Hdf5Writer* file) {
  const TransportCounters& c = transport_->counters();
  auto per_rank = [&](const std::string& name, auto value) {
    auto all = world_.all_gather(value, "the figures of every rank");
    if (file) file->set_attribute("/", name, all);
  };
  if (file) {
    file->set_attribute("/", "ranks", int64_t{world_.size()});
    file->set_attribute("/", "placement", options_.placement);
    file->set_attribute("/", "dtype", options_.dtype);
    file->set_attribute("/", "transport", std::string(transport_->name()));
  }
  per_rank("bytes_sent_forward", c.bytes_sent_forward);
  per_rank("bytes_sent_backward", c.bytes_sent_backward);
  per_rank("bytes_visited_forward", c.bytes_visited_forward);
  per_rank("bytes_visited_backward", c.bytes_visited_backward);
  per_rank("seconds_forward", median(timing_.forward));
  per_rank("seconds_backward", median(timing_.backward));
  per_rank("wait_seconds", median(timing_.wait));
}

// The inputs are finite: numbers too large for f32, or a softmax_scale that makes them so, are all that is left.
void AttentionRun::require_finite() const {
  auto finite = [](const std::vector<float>& all, bool or_nothing_seen) {
    return std::all_of(all.begin(), all.end(), [&](float x) {
      return std::isfinite(x) || (or_nothing_seen && x == -std::numeric_limits<float>::infinity());
    });
  };
  for (const auto& [name, all] : {std::pair{"out", &local_.out},
                                  {"lse", &local_.lse},
                                  {"dq", &local_.dq},
                                  {"dk", &local_.dk},
                                  {"dv", &local_.dv}})
    require(ExitCode::kNumbers, finite(*all, all == &local_.lse), options_.in, ": '", name,
            "' is not finite: the inputs or softmax_scale are too large for ", options_.dtype, "; make them smaller");
}

void AttentionRun::write() {
  std::unique_ptr<Hdf5Writer> file = world_.rank() == 0 ? std::make_unique<Hdf5Writer>() : nullptr;
  const auto& n = problem_.heads;
  const int64_t Sq = problem_.Sq, Sk = problem_.Sk;
  collect(file.get(), "out", {n.B, Sq, n.H, n.Dv}, queries_, local_.out, false);
  collect(file.get(), "lse", {n.B, n.H, Sq}, queries_, local_.lse, true);
  collect(file.get(), "dq", {n.B, Sq, n.H, n.Dqk}, queries_, local_.dq, false);
  collect(file.get(), "dk", {n.B, Sk, n.K, n.Dqk}, keys_, local_.dk, false);
  collect(file.get(), "dv", {n.B, Sk, n.K, n.Dv}, keys_, local_.dv, false);
  write_attributes(file.get());
  agree(world_, [&] {
    if (file) file->save(options_.out);
  });
}

void AttentionRun::report() const {
  log::inform(fmt::format("{}: {} rank{}, {} placement, transport {}; forward {:.6f} s, backward {:.6f} s",
                          options_.out, world_.size(), world_.size() == 1 ? "" : "s", options_.placement,
                          transport_->text(), median(timing_.forward), median(timing_.backward)));
}

void attention_on(const AttentionCommand& options, Group& world) {
  agree(world, [&] {
    require_device(Command::kAttention, options.device);
    require_supported(Command::kAttention,
                      {{"placement", options.placement}, {"transport", options.transport}, {"dtype", options.dtype}});
    std::error_code none;
    require(!std::filesystem::equivalent(options.in, options.out, none), "'", options.out,
            "' is the input itself; give another path for the output");
    if (world.rank() == 0) require_output_path(options.out, "the output");
    cpu::choose_isa(options.isa);
  });
  world.set_timeout(options.timeout_seconds);
  const NodeShare share = share_of_node(world, options.threads);
  std::unique_ptr<Hdf5Reader> file;
  const Problem problem = agree(world, [&] {
    file = std::make_unique<Hdf5Reader>(options.in);
    Problem read = read_problem(*file, options.in);
    read.heads.dtype = options.dtype == name_of(Dtype::kBf16) ? Dtype::kBf16 : Dtype::kF32;
    require_memory(read, options.in, world, share);
    return read;
  });
  AttentionRun run(options, problem, world);
  agree(world, [&] { run.read(*file); });
  run.run();
  agree(world, [&] { run.require_finite(); });
  run.write();
  run.report();
}

}  // namespace

void attention(const AttentionCommand& options, Group& processes) {
  run_on_ranks(processes, options.in_process_ranks, [&](Group& world) { attention_on(options, world); });
}

}  // namespace annulus
