// What `annulus inspect` sees: every tensor with the statistics of its values, and every kind of damage.
#include "runtime/checkpoint_inspect.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

/// Plain loops over the whole tensor.
void expect_statistics(const ValueStatistics& got, const std::vector<float>& values) {
  long double sum = 0.0, squares = 0.0;
  double least = INFINITY, most = -INFINITY;
  int64_t finite = 0;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    ++finite;
    sum += static_cast<long double>(value);
    least = std::min(least, static_cast<double>(value));
    most = std::max(most, static_cast<double>(value));
  }
  const long double mean = finite > 0 ? sum / static_cast<long double>(finite) : 0.0L;
  for (const float value : values)
    if (std::isfinite(value))
      squares += (static_cast<long double>(value) - mean) * (static_cast<long double>(value) - mean);
  const double std = finite > 0 ? static_cast<double>(sqrtl(squares / static_cast<long double>(finite))) : 0.0;
  const double largest = std::max(std::abs(least), std::abs(most));
  EXPECT_EQ(got.finite, finite);
  EXPECT_EQ(got.not_finite, static_cast<int64_t>(values.size()) - finite);
  EXPECT_NEAR(got.mean, static_cast<double>(mean), 1e-13 * largest);
  EXPECT_NEAR(got.std(), std, 1e-13 * largest);
  EXPECT_EQ(got.min, finite > 0 ? least : 0.0);
  EXPECT_EQ(got.max, finite > 0 ? most : 0.0);
}

TEST(CheckpointInspect, ShowsEveryTensorHoweverItIsCut) {
  for (const int ranks : {1, 3}) {
    const TemporaryDirectory run;
    const SavedCheckpoint saved = save(run.path, 5, ranks, kEven, {.part_bytes = 20 << 10});
    ASSERT_TRUE(saved.ok) << saved.problem;
    const Inspection found = inspect_checkpoint(saved.path);
    EXPECT_EQ(found.problems, std::vector<std::string>{});
    ASSERT_TRUE(found.has_manifest);
    EXPECT_EQ(found.manifest.ranks, ranks);
    EXPECT_EQ(found.manifest.state.step, 5);
    ASSERT_EQ(found.files.size() + 1, names_in(saved.path).size());  // and MANIFEST
    for (const InspectedFile& file : found.files) {
      EXPECT_TRUE(file.digest_holds) << file.name;
      EXPECT_EQ(file.bytes, static_cast<int64_t>(fs::file_size(saved.path + "/" + file.name)));
      EXPECT_EQ(file.digest, digest_of(read_text(saved.path + "/" + file.name)));
    }
    ASSERT_EQ(found.tensors.size(), kTensors.size());
    for (size_t i = 0; i < kTensors.size(); ++i) {
      const InspectedTensor& tensor = found.tensors[i];  // kTensors are in the order of their names
      EXPECT_EQ(tensor.name, kTensors[i].name);
      EXPECT_TRUE(tensor.shape == kTensors[i].shape) << tensor.name;
      EXPECT_EQ(tensor.rows, tensor.shape[0]);
      EXPECT_GE(tensor.parts, std::min<int64_t>(ranks, tensor.rows));
      expect_statistics(tensor.values, whole_tensor(kTensors[i], 5));
    }
  }
}

TEST(CheckpointInspect, StatisticsOfAnyCutAreThoseOfTheWhole) {
  const CounterRng rng(3, "statistics");
  std::vector<float> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 1000.0f + static_cast<float>(rng.normal(i));
  values[0] = values[500] = NAN;
  values[999] = INFINITY;
  std::mt19937 random(1);
  for (int trial = 0; trial < 50; ++trial) {
    ValueStatistics statistics;
    for (size_t first = 0, count = 0; first < values.size(); first += count) {
      count = std::min<size_t>(values.size() - first, random() % 300);
      statistics.add(reinterpret_cast<const std::byte*>(values.data() + first), Dtype::kF32,
                     static_cast<int64_t>(count));
    }
    expect_statistics(statistics, values);
  }
  ValueStatistics none;
  none.add(reinterpret_cast<const std::byte*>(values.data() + 500), Dtype::kF32, 1);
  expect_statistics(none, {NAN});
}

TEST(CheckpointInspect, RandomDamageIsNamedAndTheRestIsRead) {
  const Damaged checkpoint;
  std::vector<std::string> names = checkpoint.parts();
  names.push_back("view.h5");
  std::mt19937 random(5);
  for (int trial = 0; trial < 200; ++trial) {
    const std::string& name = names[random() % names.size()];
    const std::string whole = read_text(checkpoint.file(name));
    std::string damaged = whole;
    const size_t at = random() % whole.size();
    if (trial % 4 == 0) damaged.resize(at);
    if (trial % 4 == 1) damaged += "x";
    if (trial % 4 > 1) damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    write_text(checkpoint.file(name), damaged);
    const Inspection found = inspect_checkpoint(checkpoint.path);
    ASSERT_EQ(found.problems.size(), 1u);
    expect_in(name, found.problems[0]);
    for (const InspectedFile& file : found.files) {
      EXPECT_EQ(file.digest_holds, file.name != name);
      EXPECT_EQ(file.problem, file.name == name ? found.problems[0] : "");
    }
    int64_t missing = 0;
    for (const InspectedTensor& tensor : found.tensors) missing += tensor.shape[0] - tensor.rows;
    const bool whole_tensors = missing == 0 && found.tensors.size() == kTensors.size();
    EXPECT_EQ(whole_tensors, name == "view.h5");
    write_text(checkpoint.file(name), whole);
  }
  EXPECT_TRUE(inspect_checkpoint(checkpoint.path).problems.empty());
}

TEST(CheckpointInspect, WhatDigestsDoNotShowIsFoundToo) {
  const Damaged checkpoint;
  auto problem = [&] {
    const Inspection found = inspect_checkpoint(checkpoint.path);
    return found.problems.empty() ? "" : found.problems[0];
  };
  const std::string manifest = read_text(checkpoint.file("MANIFEST"));
  const std::string last = checkpoint.parts().back();
  auto with = [&](auto&& change) {
    Manifest changed = parse_manifest(manifest);
    change(changed);
    write_text(checkpoint.file("MANIFEST"), manifest_text(changed));
    return problem();
  };
  expect_in("are not there", with([](Manifest& m) {
              std::erase_if(m.files, [](const ManifestFile& file) { return file.name == "part-00001-00.h5"; });
            }));
  expect_in("is not the one that MANIFEST names",
            with([](Manifest& m) { m.config_digest = digest_of(std::string("another")); }));
  // A part twice, with a good digest each time.
  fs::copy_file(checkpoint.file(last), checkpoint.file("part-00007-00.h5"));
  expect_in("and again in part-00007-00.h5", with([&](Manifest& m) {
              m.files.push_back({"part-00007-00.h5", static_cast<int64_t>(fs::file_size(checkpoint.file(last))),
                                 digest_of(read_text(checkpoint.file(last)))});
            }));
  write_text(checkpoint.file(last), "no HDF5 at all");
  write_text(checkpoint.file("MANIFEST"), manifest);
  repair_digests(checkpoint.path);
  const Inspection refused = inspect_checkpoint(checkpoint.path);
  ASSERT_EQ(refused.problems.size(), 1u);
  expect_in(last + "' is refused: it is not a whole HDF5 file", refused.problems[0]);
  for (const InspectedFile& file : refused.files) EXPECT_TRUE(file.digest_holds) << file.name;
}

TEST(CheckpointInspect, WithoutAManifestThereIsButAProblem) {
  const Damaged checkpoint;
  for (const std::string text : {"", "rubbish", "annulus-checkpoint 1\n", "annulus-checkpoint 3\n"}) {
    write_text(checkpoint.file("MANIFEST"), text);
    const Inspection found = inspect_checkpoint(checkpoint.path);
    EXPECT_FALSE(found.has_manifest);
    EXPECT_TRUE(found.files.empty() && found.tensors.empty());
    ASSERT_EQ(found.problems.size(), 1u);
    expect_in("/MANIFEST'", found.problems[0]);
  }
  fs::remove_all(checkpoint.path);
  EXPECT_EQ(inspect_checkpoint(checkpoint.path).problems.size(), 1u);
}

TEST(CheckpointInspect, FindsTheNewestOfARun) {
  const TemporaryDirectory run;
  for (const int64_t step : {3, 12}) ASSERT_TRUE(save(run.path, step, 1).ok);
  EXPECT_EQ(find_checkpoint(run.path), run.path + "/checkpoints/step-00000012");
  EXPECT_EQ(find_checkpoint(run.path + "/checkpoints/step-00000003"), run.path + "/checkpoints/step-00000003");
  for (const char* path : {"/none", "/checkpoints", "/checkpoints/step-00000003/MANIFEST"})
    EXPECT_THROW(find_checkpoint(run.path + path), UserError) << path;
}

}  // namespace
}  // namespace annulus::test
