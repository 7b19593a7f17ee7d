#include "tests/cudasim/races/race_detector.h"

#include <fmt/format.h>

#include <utility>

namespace annulus::cudasim {
namespace {

using Kind = MemoryAccess::Kind;

AccessClass class_of(Kind kind, bool strong) {
  if (kind == Kind::kAtomic) return AccessClass::kAtomic;
  if (strong) return kind == Kind::kRead ? AccessClass::kStrongRead : AccessClass::kStrongWrite;
  return kind == Kind::kRead ? AccessClass::kRead : AccessClass::kWrite;
}

bool block_scope(const Op& op) { return (op.order & kBlockScope) != 0; }

}  // namespace

uint32_t RaceDetector::begin(const std::string& name, uint32_t queue, const QueueClock& clock) {
  told_of_operations_ = true;
  operations_.push_back({name, queue, clock, nullptr, {}});
  current_ = static_cast<uint32_t>(operations_.size() - 1);
  return current_;
}

void RaceDetector::on_launch(const Program& program, Dim3, Dim3 block) {
  if (!told_of_operations_) {
    operations_.push_back({"kernel " + program.kernel, 0, {static_cast<uint32_t>(operations_.size())}, nullptr, {}});
    current_ = static_cast<uint32_t>(operations_.size() - 1);
  }
  operations_[current_].program = &program;
  operations_[current_].block = block;
  blocks_.clear();
  last_resident_ = nullptr;
  handovers_.clear();
  copies_.clear();
  first_copy_ = 0;
}

void RaceDetector::on_block_begin(uint64_t block, uint64_t shared_bytes) {
  const auto threads = static_cast<uint32_t>(operations_[current_].block.count());
  blocks_[block] = std::make_unique<ResidentBlock>(static_cast<uint32_t>(block), threads, shared_bytes);
  last_resident_ = nullptr;
}

void RaceDetector::on_block_end(uint64_t block) {
  blocks_.erase(block);
  last_resident_ = nullptr;
}

RaceDetector::ResidentBlock& RaceDetector::resident(uint64_t block) {
  if (last_resident_ == nullptr || last_block_ != block) {
    last_block_ = block;
    last_resident_ = blocks_.at(block).get();
  }
  return *last_resident_;
}

Shadow& RaceDetector::shadow_of(const Region& region) {
  const uint64_t slot = Memory::slot_of(region.base);
  if (slot >= shadows_.size()) shadows_.resize(slot + 1);
  if (shadows_[slot] == nullptr) shadows_[slot] = std::make_unique<Shadow>(region.size);
  return *shadows_[slot];
}

// Of an operation that is not the current one.
bool RaceDetector::operation_known(const Epoch& epoch) const {
  const Operation &now = operations_[current_], &then = operations_[epoch.operation];
  return then.queue < now.clock.size() && now.clock[then.queue] >= then.clock[then.queue];
}

Epoch RaceDetector::epoch_of(const MemoryAccess& access, uint32_t actor, uint32_t time) const {
  Epoch epoch;
  epoch.operation = current_;
  epoch.block = static_cast<uint32_t>(access.by.block);
  epoch.time = time;
  epoch.instruction = static_cast<uint32_t>(access.op - operations_[current_].program->code.data());
  epoch.actor = static_cast<uint16_t>(actor);
  epoch.access = class_of(access.kind, (access.op->order & kStrong) != 0);
  epoch.narrow = epoch.strong() && block_scope(*access.op);
  return epoch;
}

template <class Knows>
void RaceDetector::check(const MemoryAccess& access, ResidentBlock* block, Epoch epoch, Knows knows) {
  const auto known = [&](const Epoch& earlier) {
    return earlier.operation == current_ ? knows(earlier) : operation_known(earlier);
  };
  const bool shared = access.space == Space::kShared;
  const Region* const region = shared ? nullptr : memory_.find(access.address);
  const uint64_t base = shared ? 0 : region->base;
  Shadow& shadow = shared ? block->shared : shadow_of(*region);
  shadow.each(access.address - base, access.bytes, [&](Cell& cell, uint64_t at) {
    const Epoch rival = record(cell, epoch, known);
    if (rival.operation == 0) return;
    const std::string where =
        shared ? fmt::format("shared memory at {:#x}", at) : fmt::format("{}", memory_.describe(base + at));
    report(epoch, rival, where);
  });
}

void RaceDetector::touch(uint64_t address, uint64_t bytes, Kind kind) {
  if (bytes == 0) return;
  Epoch epoch;
  epoch.operation = current_;
  epoch.access = class_of(kind, false);
  const Region& region = *memory_.find(address);
  const uint64_t base = region.base;
  shadow_of(region).each(address - base, bytes, [&](Cell& cell, uint64_t at) {
    const Epoch rival =
        record(cell, epoch, [&](const Epoch& e) { return e.operation == current_ || operation_known(e); });
    if (rival.operation != 0) report(epoch, rival, memory_.describe(base + at));
  });
}

void RaceDetector::on_access(const MemoryAccess& access) {
  if (access.space != Space::kGlobal && access.space != Space::kShared) return;
  ResidentBlock& block = resident(access.by.block);
  const uint32_t thread = access.by.thread;
  check(access, &block, epoch_of(access, thread, block.clocks[thread].time),
        [&](const Epoch& earlier) { return block.clocks.knows(thread, earlier); });
  if ((access.op->order & kStrong) != 0) pass_on(block, access);
}

// A strong write hands over what its thread released, a strong read takes it. An atomic does both, and keeps what was
// there: whoever reads its result is also behind the writes before it.
void RaceDetector::pass_on(ResidentBlock& block, const MemoryAccess& access) {
  const uint32_t thread = access.by.thread;
  ThreadClock& clock = block.clocks[thread];
  Handed& here = (access.space == Space::kShared ? block.handovers : handovers_)[access.address];
  const bool narrow = block_scope(*access.op);
  if (access.kind != Kind::kWrite && here != nullptr) {
    if ((access.op->order & kAcquire) != 0)
      block.clocks.accept(thread, here, narrow);
    else
      clock.read = merged(clock.read, here);
  }
  if (access.kind == Kind::kRead) return;
  if (access.kind == Kind::kWrite) here = nullptr;
  const bool releases = (access.op->order & kRelease) != 0;
  here = merged(here, releases ? block.clocks.handover(thread, narrow) : clock.released);
}

void RaceDetector::on_fence(const ThreadId& by, const Op& op) {
  BlockClocks& clocks = resident(by.block).clocks;
  const bool narrow = block_scope(op);
  if ((op.order & kAcquire) != 0) clocks.accept(by.thread, std::exchange(clocks[by.thread].read, nullptr), narrow);
  if ((op.order & kRelease) == 0) return;
  Handed& released = clocks[by.thread].released;  // what a fence for all released stays so after one for the block
  released = narrow ? merged(released, clocks.handover(by.thread, true)) : clocks.handover(by.thread, false);
}

void RaceDetector::on_warp_sync(uint64_t block, std::span<const uint32_t> threads) {
  resident(block).clocks.meet(threads);
}

void RaceDetector::on_barrier(uint64_t block, uint32_t barrier, std::span<const uint32_t> threads) {
  ResidentBlock& here = resident(block);
  here.clocks.meet(threads, here.arrived[barrier]);
  here.arrived[barrier] = nullptr;
}

void RaceDetector::on_arrival(uint64_t block, uint32_t barrier, std::span<const uint32_t> threads) {
  ResidentBlock& here = resident(block);
  here.arrived[barrier] = here.clocks.arrive(threads, here.arrived[barrier]);
}

void RaceDetector::on_copy_issued(const ThreadId& by, uint64_t copy) {
  if (copies_.empty()) first_copy_ = copy;
  copies_.push_back(resident(by.block).clocks.issue_copy(by.thread));
}

void RaceDetector::on_copy_access(uint64_t copy, const MemoryAccess& access) {
  ResidentBlock& block = resident(access.by.block);
  const CopyClock& clock = copy_clock(copy);
  check(access, &block, epoch_of(access, block.clocks.threads() + clock.thread, clock.number),
        [&](const Epoch& earlier) { return block.clocks.knows(clock, earlier); });
}

void RaceDetector::on_copy_waited(const ThreadId& by, uint64_t copy) {
  ThreadClock& clock = resident(by.block).clocks[by.thread];
  clock.copies_waited = std::max(clock.copies_waited, copy_clock(copy).number);
  copy_clock(copy).known = nullptr;
  for (; !copies_.empty() && copies_.front().known == nullptr; ++first_copy_) copies_.pop_front();
}

std::string RaceDetector::tell(const Epoch& epoch) const {
  const Operation& operation = operations_[epoch.operation];
  std::string text = fmt::format("\n  {} {}", operation.name, epoch.reads() ? "reads" : "writes");
  if (operation.program == nullptr) return text;
  const Op& op = operation.program->code[epoch.instruction];
  const auto threads = static_cast<uint32_t>(operation.block.count());
  const uint32_t thread = epoch.actor % threads;
  text += fmt::format(" by {}, PTX line {}", op.text, op.line);
  if (const std::string source = operation.program->source_of(op); !source.empty()) text += ", " + source;
  const Dim3& block = operation.block;
  return text + fmt::format(", {}thread ({},{},{}) of block {}", epoch.actor >= threads ? "a copy of " : "",
                            thread % block.x, thread / block.x % block.y, thread / block.x / block.y, epoch.block);
}

void RaceDetector::report(const Epoch& now, const Epoch& earlier, const std::string& where) const {
  DeviceFault::Place place;
  const Operation& operation = operations_[now.operation];
  place.kernel = operation.program != nullptr ? operation.program->kernel : operation.name;
  place.one_thread = false;
  if (operation.program != nullptr) {
    const Op& op = operation.program->code[now.instruction];
    place.instruction = op.text;
    place.ptx_line = op.line;
    place.source = operation.program->source_of(op);
  }
  throw DeviceFault(FaultKind::kRace, place,
                    fmt::format("race on {}: nothing orders these two{}{}", where, tell(earlier), tell(now)));
}

}  // namespace annulus::cudasim
