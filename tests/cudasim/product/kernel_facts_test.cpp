// What the product's kernels ask of a GPU: no more memory traffic than they must, and no more registers than docs say.
#include "tests/cudasim/product/kernel_facts.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace annulus::cudasim {
namespace {

// Of the passes beside each workload in kernel_facts.cpp. Small things that are not counted there (a token's number,
// what a row's statistics take) are in the twentieth.
TEST(ProductTraffic, IsWithinATwentiethOfTheFewestSectors) {
  for (const KernelTraffic& one : kernel_traffic()) {
    EXPECT_LE(one.sectors_of_fewest(), 1.05) << one.name << ": " << one.passes;
    EXPECT_GE(one.sectors_of_fewest(), 0.99) << one.name << " does less than is expected of it: " << one.passes;
  }
}

// Four bytes a thread would be 4 sectors a request. bf16 beside f32 has 8 bytes a thread: lanes.cuh, kLanesOfBoth.
TEST(ProductTraffic, IsOfWholeSectorsInWordsOf16Bytes) {
  for (const KernelTraffic& one : kernel_traffic()) {
    uint64_t in_words = 0;
    for (const Statistics::Line& line : one.main_accesses()) {
      const Counter& counter = line.counter;
      const std::string what = one.name + ": " + line.instruction + " " + line.source;
      const bool mixed = line.instruction.find(".v2.") != std::string::npos;
      if (!mixed && line.instruction.find(".v4.") == std::string::npos) continue;
      in_words += counter.sectors;
      EXPECT_EQ(counter.global_bytes, counter.threads * (mixed ? 8 : 16)) << what;
      EXPECT_GE(counter.global_bytes, counter.sectors * 32) << what;
      EXPECT_TRUE(!mixed || one.name.find("<4") != std::string::npos) << what;
    }
    EXPECT_GE(in_words * 20, one.statistics.total.sectors * 19) << one.name;
  }
}

TEST(ProductTraffic, SharedMemoryHasNoBankConflicts) {
  for (const KernelTraffic& one : kernel_traffic())
    EXPECT_EQ(one.statistics.total.wavefronts, one.statistics.total.fewest_wavefronts) << one.name;
}

// Rows of the page: name, threads, registers of two architectures, shared and local bytes, warps on three GPUs.
std::map<std::string, std::vector<int>> rows_of_page() {
  std::ifstream page(ANNULUS_SOURCE_DIR "/docs/GPU_KERNELS.md");
  std::map<std::string, std::vector<int>> rows;
  std::string line;
  while (std::getline(page, line) && !line.starts_with("## Registers")) continue;
  while (std::getline(page, line)) {
    if (!line.starts_with("| `")) continue;
    std::istringstream cells(line.substr(line.find("` |") + 2));
    std::vector<int>& row = rows[line.substr(3, line.find("` |") - 3)];
    char bar = 0;
    for (int value = 0; cells >> bar >> value;) row.push_back(value);
  }
  return rows;
}

// By kernel, without its arguments; what is not listed may have none.
std::map<std::string, uint32_t> excepted_local_bytes() {
  std::ifstream list(ANNULUS_SOURCE_DIR "/kernels/cuda/local_memory.txt");
  EXPECT_TRUE(list.good());
  std::map<std::string, uint32_t> bytes;
  for (std::string line; std::getline(list, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream words(line);
    std::string source, kernel;
    words >> source >> kernel;
    words >> bytes[kernel];
  }
  return bytes;
}

TEST(ProductResources, LocalMemoryIsUsedOnlyWhereItIsListed) {
  auto listed = excepted_local_bytes();
  for (const KernelResources& one : kernel_resources()) {
    const auto found = listed.find(one.name.substr(0, one.name.find('<')));
    const uint32_t most = found == listed.end() ? 0 : found->second;
    EXPECT_LE(one.a100.local_bytes, most) << one.name;
    EXPECT_LE(one.h100.local_bytes, most) << one.name;
  }
}

TEST(ProductResources, AreNoWorseThanThePageSays) {
  const auto rows = rows_of_page();
  const auto kernels = kernel_resources();
  const std::string mend = "; is it wanted? Then print docs/GPU_KERNELS.md anew";
  EXPECT_EQ(kernels.size(), rows.size()) << "kernels that came or went" << mend;
  for (const KernelResources& one : kernels) {
    const auto row = rows.find(one.name);
    ASSERT_TRUE(row != rows.end() && row->second.size() == 8) << one.name << " is not on the page" << mend;
    EXPECT_EQ(one.threads, row->second[0]) << one.name << mend;
    EXPECT_LE(one.a100.shared_bytes, static_cast<uint32_t>(row->second[3])) << one.name << mend;
    for (size_t i = 0; i < one.warps.size(); ++i)
      EXPECT_GE(one.warps[i], row->second[5 + i]) << one.name << " has fewer warps on GPU " << i << mend;
  }
}

}  // namespace
}  // namespace annulus::cudasim
