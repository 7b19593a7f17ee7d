#include "tests/cudasim/races/thread_clock.h"

#include <algorithm>

namespace annulus::cudasim {
namespace {

void later(Times& a, const Times& b) {
  if (a.size() < b.size()) a.resize(b.size());
  for (size_t i = 0; i < b.size(); ++i) a[i] = std::max(a[i], b[i]);
}

void later(OtherBlocks& a, const OtherBlocks& b) {
  for (const auto& [block, times] : b) {
    std::shared_ptr<const Times>& mine = a[block];
    if (mine == times) continue;
    if (mine == nullptr) {
      mine = times;
      continue;
    }
    const auto both = std::make_shared<Times>(*mine);
    later(*both, *times);
    mine = both;
  }
}

}  // namespace

void Knowledge::merge(const Knowledge& more) {
  later(block, more.block);
  later(others, more.others);
}

void Handover::merge(const Handover& more) {
  later(device, more.device);
  for (const auto& [block, known] : more.within) later(within[block], known);
}

Handed merged(const Handed& a, const Handed& b) {
  if (a == nullptr || a == b) return b;
  if (b == nullptr) return a;
  const auto both = std::make_shared<Handover>(*a);
  both->merge(*b);
  return both;
}

bool BlockClocks::knows(const Knowledge& known, uint32_t thread, uint32_t time, uint32_t copies,
                        const Epoch& epoch) const {
  if (epoch.block != block_) {
    const auto other = known.others.find(epoch.block);
    return other != known.others.end() && (*other->second)[epoch.actor] >= epoch.time;
  }
  if (epoch.actor == thread) return epoch.time <= time;
  if (epoch.actor == threads() + thread) return epoch.time <= copies;
  return known.block[epoch.actor] >= epoch.time;
}

CopyClock BlockClocks::issue_copy(uint32_t thread) {
  ThreadClock& clock = clocks_[thread];
  return {clock.known, thread, clock.time++, clock.copies_waited, ++clock.copies_issued};
}

BlockClocks::BlockClocks(uint32_t block, uint32_t threads) : block_(block), clocks_(threads) {
  const auto nothing = std::make_shared<Knowledge>();
  nothing->block.resize(size_t{2} * threads);
  for (ThreadClock& clock : clocks_) clock.known = nothing;
}

std::shared_ptr<Knowledge> BlockClocks::together(std::span<const uint32_t> threads) const {
  const auto all = std::make_shared<Knowledge>(*clocks_[threads[0]].known);
  const Knowledge* last = clocks_[threads[0]].known.get();
  for (const uint32_t thread : threads) {
    const ThreadClock& clock = clocks_[thread];
    if (clock.known.get() != last) all->merge(*clock.known);
    last = clock.known.get();
  }
  for (const uint32_t thread : threads) {
    all->block[thread] = std::max(all->block[thread], clocks_[thread].time);
    uint32_t& copies = all->block[this->threads() + thread];
    copies = std::max(copies, clocks_[thread].copies_waited);
  }
  return all;
}

void BlockClocks::share(std::span<const uint32_t> threads, Handed ThreadClock::*what) {
  Handed all, last;
  for (const uint32_t thread : threads) {
    const Handed& one = clocks_[thread].*what;
    if (one != last) all = merged(all, one);
    last = one;
  }
  if (all == nullptr) return;
  for (const uint32_t thread : threads) clocks_[thread].*what = all;
}

void BlockClocks::meet(std::span<const uint32_t> threads, const Known& arrived) {
  if (threads.empty()) return;
  const std::shared_ptr<Knowledge> all = together(threads);
  if (arrived != nullptr) all->merge(*arrived);
  share(threads, &ThreadClock::released);
  share(threads, &ThreadClock::read);
  for (const uint32_t thread : threads) {
    clocks_[thread].known = all;
    ++clocks_[thread].time;
  }
}

Known BlockClocks::arrive(std::span<const uint32_t> threads, const Known& before) {
  const std::shared_ptr<Knowledge> all = together(threads);
  if (before != nullptr) all->merge(*before);
  for (const uint32_t thread : threads) ++clocks_[thread].time;
  return all;
}

Handed BlockClocks::handover(uint32_t thread, bool block_scope) {
  const uint32_t alone[] = {thread};
  const std::shared_ptr<Knowledge> known = together(alone);
  ++clocks_[thread].time;
  const auto result = std::make_shared<Handover>();
  OtherBlocks& all = block_scope ? result->within[block_] : result->device;
  all = known->others;
  all[block_] = std::make_shared<const Times>(std::move(known->block));
  return result;
}

void BlockClocks::accept(uint32_t thread, const Handed& handed, bool block_scope) {
  if (handed == nullptr) return;
  const auto all = std::make_shared<Knowledge>(*clocks_[thread].known);
  const auto take = [&](const OtherBlocks& from, bool own_alone) {
    for (const auto& [block, times] : from) {
      if (block == block_)
        later(all->block, *times);
      else if (!own_alone)
        later(all->others, {{block, times}});
    }
  };
  take(handed->device, block_scope);
  if (const auto within = handed->within.find(block_); within != handed->within.end()) take(within->second, false);
  clocks_[thread].known = all;
}

}  // namespace annulus::cudasim
