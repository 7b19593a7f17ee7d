#include "tests/cudasim/runtime/collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/cudasim/ptx/number.h"
#include "tests/cudasim/runtime/memory_work.h"

namespace annulus::cudasim {
namespace {

using Kind = NcclCall::Kind;

uint64_t address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

void resume(Simulation& simulation, const PostedCall& call) {
  if (RaceDetector* races = simulation.races()) races->resume(call.work->operation());
}

void touch(Simulation& simulation, const PostedCall& call, const void* pointer, uint64_t bytes,
           MemoryAccess::Kind kind) {
  if (bytes == 0) return;
  simulation.memory().check(address(pointer), bytes, kind == MemoryAccess::Kind::kRead ? "reads" : "writes");
  resume(simulation, call);
  if (RaceDetector* races = simulation.races()) races->touch(address(pointer), bytes, kind);
}

// Elements that a rank gives, and that it gets.
size_t given(const NcclCall& call, size_t ranks) {
  return call.kind == Kind::kReduceScatter ? call.count * ranks : call.count;
}
size_t gotten(const NcclCall& call, size_t ranks) {
  return call.kind == Kind::kAllGather ? call.count * ranks : call.count;
}

bool gives(const NcclCall& call, size_t rank) {
  return call.kind != Kind::kBroadcast || static_cast<int>(rank) == call.peer;
}
bool gets(const NcclCall& call, size_t rank) {
  return call.kind != Kind::kReduce || static_cast<int>(rank) == call.peer;
}

template <class T>
T combine(ncclRedOp_t reduction, T a, T b) {
  switch (reduction) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);
  }
}

template <class T>
struct Plain {
  using Wide = T;
  static T widen(T x) { return x; }
  static T narrow(T x) { return x; }
  using Stored = T;
};
template <class Format>
struct Small {
  using Wide = float;
  using Stored = uint16_t;
  static float widen(uint16_t x) { return cudasim::widen<Format>(x); }
  static uint16_t narrow(float x) { return cudasim::narrow<Format>(static_cast<double>(x)); }
};

template <class Number>
void reduce_as(std::vector<uint8_t>& sum, const std::vector<std::vector<uint8_t>>& parts, ncclRedOp_t reduction) {
  using Stored = typename Number::Stored;
  const size_t ranks = parts.size(), count = sum.size() / sizeof(Stored), chunk = (count + ranks - 1) / ranks;
  for (size_t i = 0; i < count; ++i) {
    const auto value = [&](size_t rank) {
      Stored stored;
      std::memcpy(&stored, parts[rank % ranks].data() + i * sizeof(Stored), sizeof(Stored));
      return Number::widen(stored);
    };
    const size_t first = i / std::max<size_t>(chunk, 1) + 1;
    Stored total = Number::narrow(value(first));
    for (size_t k = 1; k < ranks; ++k)
      total = Number::narrow(combine<typename Number::Wide>(reduction, Number::widen(total), value(first + k)));
    if (reduction == ncclAvg)
      total = Number::narrow(
          static_cast<typename Number::Wide>(Number::widen(total) / static_cast<typename Number::Wide>(ranks)));
    std::memcpy(sum.data() + i * sizeof(Stored), &total, sizeof(Stored));
  }
}

void reduce(std::vector<uint8_t>& sum, const std::vector<std::vector<uint8_t>>& parts, const NcclCall& call) {
  switch (call.type) {
    case ncclInt8:
      return reduce_as<Plain<int8_t>>(sum, parts, call.reduction);
    case ncclUint8:
      return reduce_as<Plain<uint8_t>>(sum, parts, call.reduction);
    case ncclInt32:
      return reduce_as<Plain<int32_t>>(sum, parts, call.reduction);
    case ncclUint32:
      return reduce_as<Plain<uint32_t>>(sum, parts, call.reduction);
    case ncclInt64:
      return reduce_as<Plain<int64_t>>(sum, parts, call.reduction);
    case ncclUint64:
      return reduce_as<Plain<uint64_t>>(sum, parts, call.reduction);
    case ncclFloat16:
      return reduce_as<Small<Half>>(sum, parts, call.reduction);
    case ncclBfloat16:
      return reduce_as<Small<Bfloat>>(sum, parts, call.reduction);
    case ncclFloat64:
      return reduce_as<Plain<double>>(sum, parts, call.reduction);
    default:
      return reduce_as<Plain<float>>(sum, parts, call.reduction);
  }
}

[[noreturn]] void disagree(const PostedCall& a, const PostedCall& b) {
  DeviceFault::Place place;
  place.one_thread = false;
  throw DeviceFault(FaultKind::kCollective, place,
                    fmt::format("ranks disagree: rank {} does {}, rank {} does {}", a.work->communicator().host,
                                a.work->name, b.work->communicator().host, b.work->name));
}

bool same_call(const NcclCall& a, const NcclCall& b) {
  const bool rooted = a.kind == Kind::kBroadcast || a.kind == Kind::kReduce;
  return a.kind == b.kind && a.count == b.count && a.type == b.type && a.reduction == b.reduction &&
         (!rooted || a.peer == b.peer);
}

// The bytes of the whole result; each rank gets all of them, or its part.
std::vector<uint8_t> result_of(const NcclCall& call, const std::vector<std::vector<uint8_t>>& parts) {
  std::vector<uint8_t> whole;
  if (call.kind == Kind::kBroadcast) return parts[static_cast<size_t>(call.peer)];
  if (call.kind == Kind::kAllGather) {
    for (const auto& part : parts) whole.insert(whole.end(), part.begin(), part.end());
    return whole;
  }
  whole.resize(parts[0].size());
  reduce(whole, parts, call);
  return whole;
}

}  // namespace

void pass_message(Simulation& simulation, PostedCall& send, PostedCall& receive) {
  const uint64_t bytes = send.call.count * size_of(send.call.type);
  if (bytes != receive.call.count * size_of(receive.call.type)) disagree(send, receive);
  touch(simulation, send, send.call.from, bytes, MemoryAccess::Kind::kRead);
  touch(simulation, receive, receive.call.to, bytes, MemoryAccess::Kind::kWrite);
  simulation.memory().copy(address(receive.call.to), address(send.call.from), bytes);
  receive.work->learn(send.work->clock());
  send.done = receive.done = true;
}

void do_collective(Simulation& simulation, const std::vector<PostedCall*>& calls) {
  const NcclCall& what = calls[0]->call;
  const size_t ranks = calls.size(), width = size_of(what.type);
  for (const PostedCall* call : calls)
    if (!same_call(what, call->call)) disagree(*calls[0], *call);
  std::vector<std::vector<uint8_t>> parts(ranks);
  for (size_t rank = 0; rank < ranks; ++rank) {
    if (!gives(what, rank)) continue;
    const NcclCall& call = calls[rank]->call;
    touch(simulation, *calls[rank], call.from, given(call, ranks) * width, MemoryAccess::Kind::kRead);
    parts[rank].resize(given(call, ranks) * width);
    simulation.memory().read(parts[rank].data(), address(call.from), parts[rank].size());
  }
  const std::vector<uint8_t> whole = result_of(what, parts);
  for (size_t rank = 0; rank < ranks; ++rank) {
    const NcclCall& call = calls[rank]->call;
    const uint64_t bytes = gotten(call, ranks) * width;
    if (gets(what, rank)) {
      touch(simulation, *calls[rank], call.to, bytes, MemoryAccess::Kind::kWrite);
      const uint64_t offset = what.kind == Kind::kReduceScatter ? rank * bytes : 0;
      simulation.memory().write(address(call.to), whole.data() + offset, bytes);
      for (size_t other = 0; other < ranks; ++other)
        if (gives(what, other)) calls[rank]->work->learn(calls[other]->work->clock());
    }
    calls[rank]->done = true;
  }
}

}  // namespace annulus::cudasim
