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

}  // namespace

void count_global(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes) {
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
  ++counter.global_requests;
  counter.sectors += count;
  counter.global_bytes += static_cast<uint64_t>(std::popcount(lanes)) * bytes;
}

// The hardware serves lanes with 8 bytes by half warps and lanes with 16 bytes by quarters, each as a request of its
// own.
void count_shared(Counter& counter, const uint64_t* addresses, uint32_t lanes, uint32_t bytes) {
  const int group = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  const uint32_t group_lanes = group == 32 ? ~0u : (1u << group) - 1;
  for (int first = 0; first < 32; first += group) {
    const uint32_t part = lanes & (group_lanes << first);
    if (part == 0) continue;
    counter.wavefronts += passes(addresses, part, bytes);
    counter.fewest_wavefronts += 1;
  }
  ++counter.shared_requests;
  counter.shared_bytes += static_cast<uint64_t>(std::popcount(lanes)) * bytes;
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
