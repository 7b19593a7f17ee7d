#include "runtime/checkpoint_inspect.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "runtime/checkpoint_parts.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

template <class T>
T element(const std::byte* values, int64_t index) {
  T value;
  std::memcpy(&value, values + index * static_cast<int64_t>(sizeof value), sizeof value);
  return value;
}

double value_at(const std::byte* values, Dtype dtype, int64_t index) {
  return static_cast<double>(dtype == Dtype::kBf16 ? element<Bf16>(values, index).to_float()
                                                   : element<float>(values, index));
}

// Two passes over values that lie in memory: no cancellation.
ValueStatistics statistics_of(const std::byte* values, Dtype dtype, int64_t count) {
  ValueStatistics s;
  double sum = 0.0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = value_at(values, dtype, i);
    if (!std::isfinite(value)) continue;
    s.min = s.finite == 0 ? value : std::min(s.min, value);
    s.max = s.finite == 0 ? value : std::max(s.max, value);
    sum += value;
    ++s.finite;
  }
  s.not_finite = count - s.finite;
  if (s.finite > 0) s.mean = sum / static_cast<double>(s.finite);
  for (int64_t i = 0; i < count; ++i) {
    const double value = value_at(values, dtype, i);
    if (std::isfinite(value)) s.squares += (value - s.mean) * (value - s.mean);
  }
  return s;
}

class Inspector {
 public:
  explicit Inspector(const std::string& checkpoint) : checkpoint_(checkpoint) {}

  Inspection inspect() {
    if (!tried([&] { result_.manifest = read_manifest(checkpoint_); }).empty()) return std::move(result_);
    result_.has_manifest = true;
    for (const ManifestFile& file : result_.manifest.files) inspect_file(file);
    // Where a part could not be read, its rows are missing of course.
    if (result_.problems.empty()) require_whole_tensors();
    for (auto& [name, tensor] : tensors_) result_.tensors.push_back(std::move(tensor));
    return std::move(result_);
  }

 private:
  // The problem that ends `work`, which is also one of the checkpoint.
  template <class Work>
  std::string tried(Work&& work) {
    try {
      work();
      return {};
    } catch (const UserError& error) {
      result_.problems.push_back(error.what());
      return error.what();
    }
  }

  void inspect_file(const ManifestFile& listed) {
    InspectedFile file = {listed.name, listed.bytes, listed.digest, false, {}};
    file.problem = tried([&] {
      std::vector<std::byte> bytes = read_listed_file(checkpoint_, listed);
      file.digest_holds = true;
      if (listed.name != kViewName) inspect_part(listed, parse_listed_part(checkpoint_, listed, std::move(bytes)));
    });
    result_.files.push_back(std::move(file));
  }

  void inspect_part(const ManifestFile& file, const LoadedPart& part) {
    for (const PartRows& rows : part.contents.rows) add(rows, file.name);
    if (part.contents.config)
      require(ExitCode::kCheckpoint, digest_of(*part.contents.config) == result_.manifest.config_digest,
              "the config in ", file.name, " is not the one that MANIFEST names");
  }

  void add(const PartRows& rows, const std::string& file) {
    const RowRange& range = rows.range;
    const std::string problem = coverage_.add(range, file);
    require(ExitCode::kCheckpoint, problem.empty(), problem);
    InspectedTensor& tensor = tensors_[range.name];
    tensor.name = range.name;
    tensor.shape = range.shape;
    tensor.parts += 1;
    tensor.rows += range.rows;
    tensor.dtype = range.dtype;
    tensor.values.add(rows.data, range.dtype, range.rows * range.row_elements());
  }

  void require_whole_tensors() {
    for (const auto& [name, tensor] : tensors_) {
      const std::string problem = coverage_.missing({name, tensor.shape, 0, tensor.shape[0], tensor.dtype});
      if (!problem.empty()) result_.problems.push_back(problem);
    }
  }

  std::string checkpoint_;
  RowCoverage coverage_;
  std::map<std::string, InspectedTensor> tensors_;
  Inspection result_;
};

}  // namespace

double ValueStatistics::std() const { return finite > 0 ? std::sqrt(squares / static_cast<double>(finite)) : 0.0; }

// Chan, Golub and LeVeque 1979, equation 2.1: means and squares of two sets make those of both.
void ValueStatistics::add(const std::byte* values, Dtype dtype, int64_t count) {
  const ValueStatistics more = statistics_of(values, dtype, count);
  not_finite += more.not_finite;
  if (more.finite == 0) return;
  const auto n = static_cast<double>(finite), m = static_cast<double>(more.finite), difference = more.mean - mean;
  min = finite == 0 ? more.min : std::min(min, more.min);
  max = finite == 0 ? more.max : std::max(max, more.max);
  squares += more.squares + difference * difference * n * m / (n + m);
  mean += difference * m / (n + m);
  finite += more.finite;
}

Inspection inspect_checkpoint(const std::string& checkpoint) { return Inspector(checkpoint).inspect(); }

}  // namespace annulus
