#include "tests/cudasim/ptx/statistics.h"

#include <algorithm>
#include <array>
#include <bit>

#include "tests/cudasim/ptx/program.h"

namespace annulus::cudasim {
namespace {

constexpr uint64_t kSector = 32, kBanks = 32, kBankBytes = 4, kWavefrontBytes = kBanks * kBankBytes;

void add(Counter& sum, const Counter& one) {
  sum.runs += one.runs;
  sum.threads += one.threads;
  sum.global_requests += one.global_requests;
  sum.sectors += one.sectors;
  sum.global_bytes += one.global_bytes;
  sum.shared_requests += one.shared_requests;
  sum.wavefronts += one.wavefronts;
  sum.fewest_wavefronts += one.fewest_wavefronts;
  sum.shared_bytes += one.shared_bytes;
}

// Passes over the banks that these accesses need together: the most different words that fall into one bank.
uint64_t passes(const uint64_t* addresses, uint32_t lanes, uint32_t bytes) {
  std::array<std::array<uint64_t, 32>, kBanks> words;
  std::array<uint8_t, kBanks> used{};
  uint64_t most = 0;
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const uint64_t address = addresses[std::countr_zero(left)];
    for (uint64_t word = address / kBankBytes; word <= (address + bytes - 1) / kBankBytes; ++word) {
      auto& bank = words[word % kBanks];
      uint8_t& count = used[word % kBanks];
      if (std::find(bank.begin(), bank.begin() + count, word) != bank.begin() + count) continue;
      bank[count++] = word;
      most = std::max<uint64_t>(most, count);
    }
  }
  return most;
}

// Of a full warp whose sectors ascend, each lane within one: how many there are. 0 otherwise.
uint64_t ascending_sectors(const uint64_t* addresses, uint32_t bytes) {
  uint64_t count = 1, descends = 0, straddles = 0;
  for (int lane = 0; lane < 32; ++lane) straddles |= 32 - bytes - addresses[lane] % kSector;
  for (int lane = 1; lane < 32; ++lane) {
    const uint64_t step = addresses[lane] / kSector - addresses[lane - 1] / kSector;
    count += step != 0 ? 1 : 0;
    descends |= step;
  }
  return (descends | straddles) >> 63 != 0 ? 0 : count;
}

// Whether a full warp's accesses need one pass for each of its `groups` because no two lanes of one meet in a bank. The
// lanes of a group are as many as there are units of their size in a row of all banks.
bool without_conflicts(const uint64_t* addresses, uint32_t bytes, int groups) {
  const int shift = bytes <= 4 ? 2 : std::countr_zero(bytes);
  const uint32_t units = 32 / static_cast<uint32_t>(groups);
  uint32_t unit[32], odd = 0;
  for (int lane = 0; lane < 32; ++lane) {
    unit[lane] = uint32_t{1} << ((addresses[lane] >> shift) & (units - 1));
    odd |= static_cast<uint32_t>(addresses[lane]) & (bytes - 1);
  }
  if (odd != 0) return false;
  for (uint32_t first = 0; first < 32; first += units) {
    uint32_t used = 0;
    for (uint32_t lane = first; lane < first + units; ++lane) used |= unit[lane];
    if (static_cast<uint32_t>(std::popcount(used)) != units) return false;
  }
  return true;
}

}  // namespace

void count_global(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes) {
  ++counter.global_requests;
  counter.global_bytes += static_cast<uint64_t>(std::popcount(lanes)) * bytes;
  if (const uint64_t count = lanes == ~0u ? ascending_sectors(addresses, bytes) : 0; count != 0) {
    counter.sectors += count;
    return;
  }
  std::array<uint64_t, 64> sectors;
  size_t count = 0;
  bool ascending = true;
  for (uint32_t left = lanes; left != 0; left &= left - 1) {
    const uint64_t address = addresses[std::countr_zero(left)];
    for (uint64_t sector = address / kSector; sector <= (address + bytes - 1) / kSector; ++sector) {
      if (count > 0 && sectors[count - 1] == sector) continue;
      ascending &= count == 0 || sectors[count - 1] < sector;
      sectors[count++] = sector;
    }
  }
  if (!ascending) {
    std::sort(sectors.begin(), sectors.begin() + count);
    count = static_cast<size_t>(std::unique(sectors.begin(), sectors.begin() + count) - sectors.begin());
  }
  counter.sectors += count;
}

// The hardware serves lanes with 8 bytes by half warps and lanes with 16 bytes by quarters, each as a request of its
// own.
void count_shared(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes) {
  ++counter.shared_requests;
  counter.shared_bytes += static_cast<uint64_t>(std::popcount(lanes)) * bytes;
  const int group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  if (lanes == ~0u && without_conflicts(addresses, bytes, 32 / group)) {
    counter.wavefronts += static_cast<uint64_t>(32 / group);
    counter.fewest_wavefronts += static_cast<uint64_t>(32 / group);
    return;
  }
  const uint32_t group_lanes = group == 32 ? ~0u : (1u << group) - 1;
  for (int first = 0; first < 32; first += group) {
    const uint32_t part = lanes & (group_lanes << first);
    if (part == 0) continue;
    counter.wavefronts += passes(addresses, part, bytes);
    counter.fewest_wavefronts += 1;
  }
}

void RunCounter::sum_up(std::vector<Counter>& counters) const {
  uint64_t runs = 0, threads = 0;
  for (size_t i = 0; i < counters.size(); ++i) {
    counters[i].runs = runs += steps_[i].runs;
    counters[i].threads = threads += steps_[i].threads;
  }
}

void Statistics::add(const Statistics& more) {
  for (const Line& line : more.lines) {
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const Line& known) {
      return known.ptx_line == line.ptx_line && known.instruction == line.instruction;
    });
    if (same == lines.end())
      lines.push_back(line);
    else
      cudasim::add(same->counter, line.counter);
  }
  for (const auto& [instruction, runs] : more.mix) mix[instruction] += runs;
  cudasim::add(total, more.total);
  tensor_core_instructions += more.tensor_core_instructions;
}

Statistics summarise(const Program& program, const std::vector<Counter>& counters) {
  Statistics statistics;
  for (size_t i = 0; i < counters.size(); ++i) {
    const Op& op = program.code[i];
    if (counters[i].runs == 0 || op.line == 0) continue;
    statistics.lines.push_back({op.line, op.text, program.source_of(op), counters[i]});
    statistics.mix[op.text] += counters[i].runs;
    add(statistics.total, counters[i]);
    if (op.text.starts_with("mma.")) statistics.tensor_core_instructions += counters[i].runs;
  }
  return statistics;
}

}  // namespace annulus::cudasim
