// What read_fat_binary() says of kernels, beside what ptxas itself said when it compiled them; and damaged ones.
#include "tests/cudasim/runtime/fat_binary.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <regex>

#include "tests/cudasim/ptx/fault.h"
#include "tests/cudasim/ptx/module.h"

namespace annulus::cudasim {
namespace {

std::vector<uint8_t> bytes_of(const std::string& name) {
  std::ifstream file(ANNULUS_PTX_DIR "/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// As `nvcc -Xptxas -v` tells it.
std::map<std::string, CompiledKernel> told_by_ptxas(const std::string& name) {
  std::ifstream log(ANNULUS_PTX_DIR "/" + name);
  std::map<std::string, CompiledKernel> kernels;
  CompiledKernel* kernel = nullptr;
  std::smatch found;
  for (std::string line; std::getline(log, line);) {
    if (std::regex_search(line, found, std::regex("Compiling entry function '([^']*)'")))
      kernel = &kernels[found[1]];
    else if (kernel == nullptr)
      continue;
    else if (std::regex_search(line, found, std::regex("(\\d+) bytes stack frame")) && kernel->registers == 0)
      kernel->local_bytes = static_cast<uint32_t>(std::stoul(found[1]));
    else if (std::regex_search(line, found, std::regex("Used (\\d+) registers"))) {
      kernel->registers = static_cast<uint32_t>(std::stoul(found[1]));
      if (std::regex_search(line, found, std::regex("(\\d+) bytes smem")))
        kernel->shared_bytes = static_cast<uint32_t>(std::stoul(found[1]));
      kernel = nullptr;
    }
  }
  return kernels;
}

TEST(FatBinary, SaysOfKernelsWhatPtxasSaid) {
  for (const char* const architecture : {"sm_80", "sm_90a"})
    for (const char* const source : {"basics", "local_memory"}) {
      const std::string name = std::string(source) + "." + architecture;
      const auto cubin = bytes_of(name + ".cubin");
      const auto told = told_by_ptxas(name + ".log");
      const auto read = read_cubin(cubin.data(), cubin.size());
      ASSERT_FALSE(told.empty());
      EXPECT_EQ(read.size(), told.size()) << name;
      for (const auto& [kernel, expected] : told) {
        ASSERT_TRUE(read.contains(kernel)) << name << " " << kernel;
        const CompiledKernel& got = read.at(kernel);
        EXPECT_GT(got.registers, 0u);
        EXPECT_EQ(got.registers, expected.registers) << name << " " << kernel;
        EXPECT_EQ(got.shared_bytes, expected.shared_bytes) << name << " " << kernel;
        EXPECT_EQ(got.local_bytes, expected.local_bytes) << name << " " << kernel;
      }
    }
}

// A fat binary with PTX and cubins as nvcc lays them out: a header of 16 bytes, and one of 64 before each entry.
struct Entry {
  uint16_t kind;  // 1 PTX, 2 ELF
  uint32_t architecture;
  std::vector<uint8_t> payload;
  uint32_t compressed_bytes = 0;
};

std::vector<uint8_t> fat_binary(const std::vector<Entry>& entries) {
  std::vector<uint8_t> bytes(16);
  const auto put = [&](size_t at, auto value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); };
  for (const Entry& entry : entries) {
    const size_t at = bytes.size();
    bytes.resize(at + 64);
    put(at, entry.kind);
    put(at + 4, uint32_t{64});
    put(at + 8, uint64_t{entry.payload.size()});
    put(at + 16, entry.compressed_bytes);
    put(at + 28, entry.architecture);
    bytes.insert(bytes.end(), entry.payload.begin(), entry.payload.end());
  }
  put(0, uint32_t{0xba55ed50});
  put(4, uint16_t{1});
  put(6, uint16_t{16});
  put(8, uint64_t{bytes.size() - 16});
  return bytes;
}

std::vector<uint8_t> text(const std::string& ptx) { return {ptx.begin(), ptx.end()}; }

std::string error_of(const std::vector<uint8_t>& bytes) {
  try {
    read_fat_binary(bytes.data());
  } catch (const PtxError& error) {
    return error.what();
  }
  return "";
}

TEST(FatBinary, HoldsTheNewestPtxAndAllArchitectures) {
  const auto bytes = fat_binary({{1, 80, text("older")},
                                 {2, 80, bytes_of("basics.sm_80.cubin")},
                                 {1, 90, text("newer\0\0")},
                                 {2, 90, bytes_of("basics.sm_90a.cubin")}});
  const FatBinary read = read_fat_binary(bytes.data());
  EXPECT_EQ(read.ptx, "newer");
  ASSERT_EQ(read.compiled.size(), 2u);
  EXPECT_EQ(read.compiled.at(80).at("histogram").shared_bytes, 1024u);
  EXPECT_EQ(read.compiled.at(90).at("histogram").shared_bytes, 1024u);
}

TEST(FatBinary, ThatCannotBeReadIsRefusedWithAReason) {
  auto other = fat_binary({{1, 80, text("x")}});
  other[0] ^= 1;
  EXPECT_NE(error_of(other).find("does not begin as one"), std::string::npos);
  EXPECT_NE(error_of(fat_binary({{1, 80, text("x"), 1}})).find("compress"), std::string::npos);
  EXPECT_NE(error_of(fat_binary({{2, 80, bytes_of("basics.sm_80.cubin")}})).find("no PTX"), std::string::npos);
  auto cubin = bytes_of("basics.sm_80.cubin");
  cubin[1] ^= 1;
  EXPECT_NE(error_of(fat_binary({{2, 80, cubin}})).find("no ELF"), std::string::npos);
  cubin[1] ^= 1;
  for (const size_t length : {size_t{0}, size_t{10}, sizeof(Elf64_Ehdr) - 1, cubin.size() / 4, cubin.size() / 2})
    EXPECT_NE(
        error_of(fat_binary({{2, 80, {cubin.begin(), cubin.begin() + static_cast<int64_t>(length)}}})).find("no ELF"),
        std::string::npos)
        << length;
}

}  // namespace
}  // namespace annulus::cudasim
