#include "tests/cudasim/ptx/warp.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "tests/cudasim/ptx/block.h"

namespace annulus::cudasim {
namespace {

// Lanes that spin for what lanes further down will do must let those run: now and then the furthest go first.
constexpr uint64_t kPatience = 8192;

}  // namespace

Warp::Warp(Block& block, uint32_t index)
    : block_(block),
      index_(index),
      program_(block.launch().program),
      file_(program_.file_words),
      counters_(block.launch().counters),
      runs_(block.launch().runs),
      shared_(&block.shared()),
      recent_(nullptr),
      observed_(block.launch().options.observer != nullptr),
      local_("local memory", 0, uint64_t{program_.local_bytes} * kLanes) {
  fill_constants();
}

void Warp::fill_constants() {
  for (const Program::Constant& constant : program_.constants) {
    uint32_t* at = words(constant.slot);
    if (constant.words == 0) at[0] = static_cast<uint32_t>(constant.value);
    for (uint32_t lane = 0; constant.words > 0 && lane < kLanes; ++lane) {
      at[lane * constant.words] = static_cast<uint32_t>(constant.value);
      if (constant.words == 2) at[lane * 2 + 1] = static_cast<uint32_t>(constant.value >> 32);
    }
  }
}

void Warp::start(LaneMask lanes) {
  alive_ = lanes;
  fragments_.assign(1, {0, lanes, Fragment::State::kReady, 0});
  current_ = 0;
  copies_.clear();
  if (local_.size > 0) local_.forget();
  fill_specials(lanes);
}

void Warp::fill_specials(LaneMask lanes) {
  for (const auto& [name, slot] : program_.specials) {
    uint32_t* at = words(slot);
    for (int lane = 0; lane < kLanes; ++lane)
      if (lanes >> lane & 1) at[lane] = block_.special(name, index_, lane);
  }
}

bool Warp::ready() const {
  return std::any_of(fragments_.begin(), fragments_.end(),
                     [](const Fragment& f) { return f.state == Fragment::State::kReady; });
}

// The lanes that are furthest behind go on, so that those ahead are caught up with: where paths meet, fragments join.
// By chance, or when that has gone on for long, others do.
bool Warp::select() {
  if (fragments_.size() == 1) {
    current_ = 0;
    return fragments_[0].state == Fragment::State::kReady;
  }
  const bool furthest = ++alone_ % (2 * kPatience) >= kPatience;
  Chance* chance = block_.launch().options.seed == 0 ? nullptr : &block_.launch().chance;
  size_t best = fragments_.size(), count = 0;
  const bool any = chance != nullptr && chance->below(8) == 0;
  for (size_t i = 0; i < fragments_.size(); ++i) {
    if (fragments_[i].state != Fragment::State::kReady) continue;
    ++count;
    const bool better = best == fragments_.size() || (any        ? chance->below(count) == 0
                                                      : furthest ? fragments_[i].pc > fragments_[best].pc
                                                                 : fragments_[i].pc < fragments_[best].pc);
    if (better) best = i;
  }
  if (count == 0) return false;
  current_ = best;
  return true;
}

uint64_t Warp::run(uint64_t budget) {
  uint64_t done = 0;
  while (done < budget && alive_ != 0 && select()) {
    const bool alone = fragments_.size() == 1;
    const uint64_t plain = run_plain(alone ? budget - done : 1);
    done += plain;
    const bool turns = program_.code[fragments_[current_].pc].control != Control::kPlain;
    if (turns && done < budget && (alone || plain == 0)) {
      step();
      ++done;
    }
    if (fragments_.size() > 1) merge();
  }
  return done;
}

// Instructions after which every lane goes on with the next one.
uint64_t Warp::run_plain(uint64_t budget) {
  Fragment& now = fragments_[current_];
  const Op* const code = program_.code.data();
  const LaneMask lanes = now.lanes;
  const uint32_t first = now.pc, limit = static_cast<uint32_t>(std::min<uint64_t>(budget, program_.code.size()));
  uint32_t pc = first;
  for (; pc - first < limit; ++pc) {
    const Op& op = code[pc];
    if (op.control != Control::kPlain && !plain_for(op, lanes)) break;
    const LaneMask active = lanes & (file_[op.guard] ^ op.guard_flip);
    if (active != lanes) runs_.subtract_lanes(pc, static_cast<uint32_t>(std::popcount(lanes & ~active)));
    if (active != 0) op.run(*this, op, active);
  }
  runs_.add(first, pc, static_cast<uint32_t>(std::popcount(lanes)));
  now.pc = pc;
  return pc - first;
}

// An instruction of the whole warp, when the whole warp is here.
bool Warp::plain_for(const Op& op, LaneMask lanes) const {
  if (lanes != kAllLanes || op.guard != 0) return false;
  if (op.control == Control::kWholeWarp) return true;
  if (op.control != Control::kSync) return false;
  const uint32_t* masks = words(op.slots[op.extra]);
  LaneMask common = kAllLanes;
  for (int lane = 0; lane < kLanes; ++lane) common &= masks[lane];
  return common == kAllLanes;
}

// An instruction that decides where lanes go.
void Warp::step() {
  const Fragment& now = fragments_[current_];
  const Op& op = program_.code[now.pc];
  const LaneMask active = now.lanes & (file_[op.guard] ^ op.guard_flip);
  if (op.control == Control::kBranch || op.control == Control::kExit || op.control == Control::kCall) count_run(active);
  if (active == 0)
    ++fragments_[current_].pc;
  else
    control(op, active);
}

void Warp::count_run(LaneMask active) {
  const uint32_t pc = fragments_[current_].pc;
  runs_.add(pc, pc + 1, static_cast<uint32_t>(std::popcount(active)));
}

// Fragments at the same instruction become one. One that waited for company is asked again when somebody joins it.
void Warp::merge() {
  for (size_t i = 0; i + 1 < fragments_.size(); ++i) {
    for (size_t j = i + 1; j < fragments_.size();) {
      const bool together = fragments_[i].pc == fragments_[j].pc &&
                            fragments_[i].state != Fragment::State::kAtBarrier &&
                            fragments_[j].state != Fragment::State::kAtBarrier;
      if (!together) {
        ++j;
        continue;
      }
      fragments_[i].lanes |= fragments_[j].lanes;
      fragments_[i].state = Fragment::State::kReady;
      fragments_.erase(fragments_.begin() + static_cast<long>(j));
    }
  }
}

void Warp::add_waiting(uint32_t barrier, std::vector<uint32_t>& threads) const {
  for (const Fragment& fragment : fragments_)
    if (fragment.state == Fragment::State::kAtBarrier && fragment.barrier == barrier)
      add_threads(fragment.lanes, threads);
}

void Warp::pass_barrier(uint32_t barrier) {
  const Op* first = nullptr;
  for (Fragment& fragment : fragments_) {
    if (fragment.state != Fragment::State::kAtBarrier || fragment.barrier != barrier) continue;
    const Op& op = program_.code[fragment.pc];
    if (first == nullptr) first = &op;
    if (first != &op && op.text.starts_with("bar."))
      fault(FaultKind::kDivergence, op, std::countr_zero(fragment.lanes),
            fmt::format("lanes of one warp wait for barrier {} at different places: here and at PTX line {}", barrier,
                        first->line));
    op.run(*this, op, fragment.lanes);
    fragment.state = Fragment::State::kReady;
    ++fragment.pc;
  }
  merge();
}

std::string Warp::whereabouts() const {
  std::string text;
  for (const Fragment& fragment : fragments_) {
    const Op& op = program_.code[fragment.pc];
    std::string place = program_.source_of(op);
    if (!place.empty()) place = ", " + place;
    text += fmt::format("\n  warp {} lanes {:08x} of block {} {} {} (PTX line {}{})", index_, fragment.lanes,
                        block_.linear(),
                        fragment.state == Fragment::State::kReady    ? "can go on at"
                        : fragment.state == Fragment::State::kAtSync ? "wait for lanes of their warp at"
                                                                     : "wait at",
                        op.text, op.line, place);
  }
  return text;
}

void Warp::fault(FaultKind kind, const Op& op, int lane, const std::string& message) const {
  DeviceFault::Place place{program_.kernel, op.text, program_.source_of(op), op.line, {}, block_.index(), lane >= 0};
  if (lane >= 0) place.thread = block_.thread_index(thread(lane));
  throw DeviceFault(kind, place, message);
}

}  // namespace annulus::cudasim
