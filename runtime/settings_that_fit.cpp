// What to change where memory does not suffice: candidates are planned, and named if they fit.
#include <algorithm>
#include <chrono>

#include "runtime/core/memory.h"
#include "runtime/planned_rank.h"

namespace annulus {
namespace {

constexpr size_t kMostNamed = 3;
constexpr int64_t kLongest = int64_t{1} << 31;
constexpr int64_t kMostTimesRanks = 64;
constexpr double kMostSeconds = 3.0;

int64_t bytes_needed(const Config& config, int ranks_per_node, const Dataset& data) {
  return bytes_to_take(PlannedRank(config, ranks_per_node, data).memory());
}

class Candidates {
 public:
  Candidates(const Config& config, int ranks_per_node, const Dataset& data, int64_t bytes)
      : config_(config), ranks_per_node_(ranks_per_node), data_(data), bytes_(bytes) {}

  /// Keeps the first of these changes that fits and that a run would accept. Nobody waits long for an error message:
  /// after a while nothing more is tried.
  template <class Values, class Change>
  void first_of(const Values& values, Change&& change) {
    for (const auto& value : values) {
      if (seconds_since_start() > kMostSeconds) return;
      Config changed = config_;
      const std::string text = change(changed, value);
      if (!accepted(changed)) continue;
      const int64_t needed = bytes_needed(changed, ranks_per_node_, data_);
      if (needed > bytes_) continue;
      found_.push_back(concat(text, " (", human_bytes(needed), ")"));
      return;
    }
  }

  void stronger_recompute() {
    const std::vector<std::string> modes = {"none", "mlp", "block"};
    const auto now = std::find(modes.begin(), modes.end(), config_.train.recompute);
    first_of(std::vector<std::string>(now + 1, modes.end()), [](Config& changed, const std::string& mode) {
      changed.train.recompute = mode;
      return "--train.recompute=" + mode;
    });
  }

  void smaller_micro_batch() {
    const int64_t dp = config_.parallel.dp, largest_share = (config_.data.global_batch + dp - 1) / dp;
    std::vector<int64_t> smaller;
    for (int64_t size = std::min(config_.train.micro_batch, largest_share) / 2; size >= 1; size /= 2)
      smaller.push_back(size);
    first_of(smaller, [](Config& changed, int64_t size) {
      changed.train.micro_batch = size;
      return concat("--train.micro_batch=", size);
    });
  }

  void more_ranks() {
    if (config_.parallel.in_process_ranks > 0) return;  // they would share the same memory
    std::vector<int64_t> more;
    for (int64_t times = 2; times <= kMostTimesRanks; times *= 2) more.push_back(config_.parallel.cp * times);
    first_of(more, [](Config& changed, int64_t cp) {
      changed.parallel.cp = cp;
      return concat("--parallel.cp=", cp, " on ", cp * changed.parallel.dp, " ranks, as many per node as now");
    });
  }

  void shorter_sequence() {
    if (seconds_since_start() > kMostSeconds) return;
    int64_t longest = longest_that_fits(config_, ranks_per_node_, data_, bytes_);
    // Validation, which that leaves out, may take a little more.
    std::vector<int64_t> lengths;
    for (int tries = 0; tries < 8 && longest > 0; ++tries, longest -= (longest + 99) / 100) lengths.push_back(longest);
    if (lengths.empty() || lengths.front() >= config_.data.sequence_length) return;
    first_of(lengths, [](Config& changed, int64_t length) {
      changed.data.sequence_length = length;
      // A batch that was given in tokens need not be a whole number of these sequences.
      const std::string batch =
          changed.data.batch_in_tokens ? concat(" --data.global_batch=", changed.data.global_batch) : "";
      return concat("in a new run --data.sequence_length=", length, batch);
    });
  }

  std::vector<std::string> first() {
    found_.resize(std::min(found_.size(), kMostNamed));
    return found_;
  }

 private:
  static bool accepted(Config config) {
    try {
      complete_and_validate(config);
      return true;
    } catch (const UserError&) {
      return false;
    }
  }
  double seconds_since_start() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const Config& config_;
  int ranks_per_node_;
  const Dataset& data_;
  int64_t bytes_;
  std::vector<std::string> found_;
};

}  // namespace

// Memory is nearly a straight line over the length, so that a few secants find it; the last look is at the very length
// that is returned.
int64_t longest_that_fits(const Config& config, int ranks_per_node, const Dataset& data, int64_t bytes) {
  Config changed = config;
  changed.train.validate_every = 0;
  const auto needed = [&](int64_t length) {
    changed.data.sequence_length = length;
    return bytes_needed(changed, ranks_per_node, data);
  };
  if (needed(1) > bytes) return 0;
  int64_t good = 1, other = 4096;
  int64_t at_good = needed(good), at_other = needed(other);
  for (int look = 0; look < 20 && at_other != at_good; ++look) {
    const double slope = static_cast<double>(at_other - at_good) / static_cast<double>(other - good);
    const double step = 0.997 * static_cast<double>(bytes - at_good) / slope;  // rather below than above
    const int64_t next = std::clamp(good + static_cast<int64_t>(step), good, kLongest);
    if (next - good <= good / 300) break;
    const int64_t at_next = needed(next);
    (at_next <= bytes ? good : other) = next;
    (at_next <= bytes ? at_good : at_other) = at_next;
  }
  return good;
}

std::vector<std::string> settings_that_fit(const Config& config, int ranks_per_node, const Dataset& data,
                                           int64_t bytes) {
  ParameterStore parameters(model_dtype(config));
  const Transformer model(transformer_shape(config), parameters);
  // Every rank holds all weights and gradients.
  if (parameters.flat_elements() > bytes / (size_of(parameters.dtype()) + size_of(Dtype::kF32))) return {};
  Candidates candidates(config, ranks_per_node, data, bytes);
  candidates.stronger_recompute();
  candidates.smaller_micro_batch();
  candidates.more_ranks();
  candidates.shorter_sequence();
  return candidates.first();
}

}  // namespace annulus
