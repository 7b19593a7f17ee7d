// A checkpoint that the first version wrote, as it was on that day: whatever becomes of this code, it must load.
#include <gtest/gtest.h>

#include "runtime/checkpoint_inspect.h"
#include "runtime/config_file.h"
#include "tests/runtime/checkpoint_case.h"

namespace annulus::test {
namespace {

const std::string kGolden = ANNULUS_SOURCE_DIR "/tests/golden/checkpoint-v1/";

/// XXH3-128 of a tensor's floats, as they lay in memory when it was saved.
struct GoldenTensor {
  std::string name;
  Shape shape;
  std::string digest;
};

const std::vector<GoldenTensor> kGoldenTensors = {
    {"/model/embedding", {256, 8}, "57b1cafc6c7eeac6d4d0a7bf758cd1bc"},
    {"/model/final_norm", {8}, "d3f4481cb69b49f7065c58114360ea0d"},
    {"/model/layers/0/attention/k_proj", {8, 8}, "b45b9cae70f57fb122f9c3fafbc0c8b3"},
    {"/model/layers/0/attention/out_proj", {8, 8}, "e457dd142e3c3845858d30b029c788ff"},
    {"/model/layers/0/attention/q_proj", {8, 8}, "e3b69508e7f4f7e137225dbbce5d9165"},
    {"/model/layers/0/attention/v_proj", {8, 8}, "8ac692d1f95c35140b8d0140e57aecfc"},
    {"/model/layers/0/attention_norm", {8}, "83d389fa9a503e7ce90972e8b02c05cb"},
    {"/model/layers/0/mlp/down_proj", {8, 16}, "be36aa9a6c3ea66847a72759113eb1a7"},
    {"/model/layers/0/mlp/gate_proj", {16, 8}, "5f51a9394f7fa786f8fc4f27e554edae"},
    {"/model/layers/0/mlp/up_proj", {16, 8}, "39d4949eea4c62d53791cb8993beef69"},
    {"/model/layers/0/mlp_norm", {8}, "f2e2fb18d8396c8d24d48aac3a789977"},
    {"/optimizer/m/embedding", {256, 8}, "acf8623a2911385bed95e842225417ac"},
    {"/optimizer/m/final_norm", {8}, "e9d716bbe54af0cd3ddab4724dd5abf7"},
    {"/optimizer/m/layers/0/attention/k_proj", {8, 8}, "f631d6b218659732533da5e75510a293"},
    {"/optimizer/m/layers/0/attention/out_proj", {8, 8}, "e27de797a1a6608075a186fd134b473c"},
    {"/optimizer/m/layers/0/attention/q_proj", {8, 8}, "ed3801c567c88e454d6c71a51ee23703"},
    {"/optimizer/m/layers/0/attention/v_proj", {8, 8}, "78e6365517e49a7de05d132b0d79c916"},
    {"/optimizer/m/layers/0/attention_norm", {8}, "4a9c9c30edf50107f7a58d767025fc9d"},
    {"/optimizer/m/layers/0/mlp/down_proj", {8, 16}, "b4c624b0c0a530bd8853208b77162780"},
    {"/optimizer/m/layers/0/mlp/gate_proj", {16, 8}, "bdeb6c98ffb782ba12f3c4948958bd17"},
    {"/optimizer/m/layers/0/mlp/up_proj", {16, 8}, "ac19e9aaceac71f2d7d3fab599a73bc0"},
    {"/optimizer/m/layers/0/mlp_norm", {8}, "2e993161b495968567dbf7ff244102b9"},
    {"/optimizer/v/embedding", {256, 8}, "00553792b0ebb3432c3986d546660123"},
    {"/optimizer/v/final_norm", {8}, "f01326fd2289811c8f5bdf1fcb8f5dc1"},
    {"/optimizer/v/layers/0/attention/k_proj", {8, 8}, "053473f0c881a7186c8e0fda35a42a44"},
    {"/optimizer/v/layers/0/attention/out_proj", {8, 8}, "3c73dc88d8f3b685b3e3610715ba1343"},
    {"/optimizer/v/layers/0/attention/q_proj", {8, 8}, "5373f18d1ae5b73f9f2eb7b4bb4cafbe"},
    {"/optimizer/v/layers/0/attention/v_proj", {8, 8}, "def0086e4b14a5faaa085a5cc3d45f3b"},
    {"/optimizer/v/layers/0/attention_norm", {8}, "823e37ed1385f0e7ee6ab7f0959717b7"},
    {"/optimizer/v/layers/0/mlp/down_proj", {8, 16}, "1a8ca6981314203e58ccff69559fecbf"},
    {"/optimizer/v/layers/0/mlp/gate_proj", {16, 8}, "bd150104dcaf5a1ab9fb65c3147324d0"},
    {"/optimizer/v/layers/0/mlp/up_proj", {16, 8}, "a19f92e0374d365c64e196346b107427"},
    {"/optimizer/v/layers/0/mlp_norm", {8}, "8792d8a346e209e9c4b9e9c4214a5b62"},
};

/// The packed checkpoint, unpacked.
struct Golden {
  Golden() {
    const std::string unpack = "tar -C '" + directory.path + "' -xzf '" + kGolden + "step-00000002.tar.gz'";
    if (std::system(unpack.c_str()) != 0) throw std::runtime_error("cannot: " + unpack);
  }
  const TemporaryDirectory directory;
  const std::string path = directory.path + "/step-00000002";
};

std::vector<NamedShape> golden_shapes() {
  std::vector<NamedShape> shapes;
  for (const GoldenTensor& tensor : kGoldenTensors) shapes.push_back({tensor.name, tensor.shape});
  return shapes;
}

std::string bytes_of(const TensorRows& rows) {
  const auto floats = static_cast<size_t>(rows.rows * (rows.shape.numel() / rows.shape[0]));
  return {reinterpret_cast<const char*>(rows.data), floats * sizeof(float)};
}

TEST(CheckpointGolden, EveryTensorLoadsOnAnyRanks) {
  const Golden golden;
  std::vector<std::string> whole;
  run_ranks(1, [&](Group& world) {
    const HeldRows held(golden_shapes(), kEverybodyAll, world);
    load_checkpoint(golden.path, held.views, world);
    for (size_t i = 0; i < kGoldenTensors.size(); ++i) {
      whole.push_back(bytes_of(held.views[i]));
      EXPECT_EQ(digest_of(whole.back()), kGoldenTensors[i].digest) << kGoldenTensors[i].name;
    }
  });
  ASSERT_EQ(whole.size(), kGoldenTensors.size());
  run_ranks(3, [&](Group& world) {
    const HeldRows held(golden_shapes(), kEven, world);
    load_checkpoint(golden.path, held.views, world);
    for (size_t i = 0; i < kGoldenTensors.size(); ++i) {
      const TensorRows& rows = held.views[i];
      const size_t row_bytes = whole[i].size() / static_cast<size_t>(rows.shape[0]);
      const std::string bytes = bytes_of(rows);
      EXPECT_TRUE(bytes == whole[i].substr(static_cast<size_t>(rows.first_row) * row_bytes, bytes.size())) << rows.name;
    }
  });
}

TEST(CheckpointGolden, ItsStateAndConfigAreRead) {
  const Golden golden;
  const RunState state = read_run_state(golden.path);
  EXPECT_EQ(state.run_name, "golden");
  EXPECT_EQ(state.code_version, "0.1.0 (85605959f9)");
  EXPECT_EQ(state.step, 2);
  EXPECT_EQ(state.tokens, 124);
  EXPECT_EQ(state.rows, 4);
  EXPECT_EQ(state.seed, 11);
  EXPECT_EQ(state.data_digest, "990fd5b45c707573478a422a06de3f3c");
  // What the run was told; a file that leaves keys out gets their defaults, as it did then.
  Config saved = parse_config(state.config_text, "the golden checkpoint");
  const Config told = read_config(kGolden + "config.toml", {});
  EXPECT_EQ(differing_keys(saved, told, {"run", "model", "data", "parallel", "train", "checkpoint"}),
            std::vector<std::string>{});
}

TEST(CheckpointGolden, InspectFindsItIntact) {
  const Golden golden;
  const Inspection found = inspect_checkpoint(golden.path);
  EXPECT_EQ(found.problems, std::vector<std::string>{});
  EXPECT_EQ(found.files.size(), 3u);
  ASSERT_EQ(found.tensors.size(), kGoldenTensors.size());
  for (size_t i = 0; i < kGoldenTensors.size(); ++i) {
    EXPECT_EQ(found.tensors[i].name, kGoldenTensors[i].name);
    EXPECT_EQ(found.tensors[i].values.not_finite, 0);
  }
}

}  // namespace
}  // namespace annulus::test
