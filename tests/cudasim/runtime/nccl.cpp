// The entry points of NCCL.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "tests/cudasim/runtime/calls.h"
#include "tests/cudasim/runtime/communicator.h"

using namespace annulus::cudasim;

namespace {

constexpr ncclResult_t kFailed = ncclUnhandledCudaError;  // as after a kernel's fault

struct GroupedCall {
  ncclComm* communicator;
  Stream* stream;
  NcclCall call;
};

// Of a thread: calls between ncclGroupStart() and ncclGroupEnd().
struct Group {
  int depth = 0;
  std::vector<GroupedCall> calls;
};
thread_local Group group;

template <class Body>
ncclResult_t nccl(Body body, bool may_be_killed = true) {
  ncclResult_t result = kFailed;
  const cudaError_t entered = call(
      [&](Simulation& simulation) {
        result = body(simulation);
        return cudaSuccess;
      },
      may_be_killed);
  return entered == cudaSuccess ? result : kFailed;
}

bool is_communicator(Simulation& simulation, ncclComm_t handle) {
  const auto& known = simulation.part<NcclState>().communicators;
  return std::any_of(known.begin(), known.end(), [&](const auto& one) { return one.get() == handle; });
}

// Enqueues what was grouped: for each communicator and stream one piece of work.
ncclResult_t launch_group(Simulation& simulation) {
  std::vector<GroupedCall> left = std::move(group.calls);
  group.calls.clear();
  while (!left.empty()) {
    const GroupedCall first = left.front();
    std::vector<NcclCall> together;
    std::erase_if(left, [&](const GroupedCall& one) {
      if (one.communicator != first.communicator || one.stream != first.stream) return false;
      together.push_back(one.call);
      return true;
    });
    auto work = std::make_unique<NcclWork>(*first.communicator, together);
    const std::string wrong = simulation.part<NcclState>().order.add(
        first.communicator->host, first.communicator->world->id, work->order_keys(), work->name);
    if (!wrong.empty()) {
      simulation.fail(FaultKind::kCollective, wrong);
      return kFailed;
    }
    simulation.enqueue(*first.stream, std::move(work));
  }
  return ncclSuccess;
}

ncclResult_t enqueue(ncclComm_t communicator, cudaStream_t handle, const NcclCall& made) {
  return nccl([&](Simulation& simulation) {
    Stream* const stream = stream_of(simulation, handle);
    if (stream == nullptr || !is_communicator(simulation, communicator) || size_of(made.type) == 0)
      return ncclInvalidArgument;
    if (made.reduction > ncclAvg) return ncclInvalidArgument;  // made by ncclRedOpCreate..., which is not simulated
    const bool has_peer =
        made.point_to_point() || made.kind == NcclCall::Kind::kBroadcast || made.kind == NcclCall::Kind::kReduce;
    if (has_peer && (made.peer < 0 || made.peer >= communicator->world->size)) return ncclInvalidArgument;
    if (communicator->aborted || stream->device != communicator->device) return ncclInvalidUsage;
    group.calls.push_back({communicator, stream, made});
    return group.depth == 0 ? launch_group(simulation) : ncclSuccess;
  });
}

NcclCall collective(NcclCall::Kind kind, const void* from, void* to, size_t count, ncclDataType_t type,
                    ncclRedOp_t reduction, int root) {
  return {kind, from, to, count, type, reduction, root};
}

ncclComm* add_communicator(Simulation& simulation, const std::shared_ptr<CommWorld>& world, int rank) {
  auto& all = simulation.part<NcclState>().communicators;
  all.push_back(std::make_unique<ncclComm>());
  ncclComm* const made = all.back().get();
  made->world = world;
  made->rank = rank;
  made->device = simulation.host().device;
  made->host = simulation.host().rank;
  world->members[static_cast<size_t>(rank)] = made;
  return made;
}

std::shared_ptr<CommWorld> make_world(int size) {
  static uint64_t worlds = 0;
  auto world = std::make_shared<CommWorld>();
  world->id = ++worlds;
  world->size = size;
  world->members.resize(static_cast<size_t>(size));
  return world;
}

ncclResult_t await_members(Simulation& simulation, const std::shared_ptr<CommWorld>& world,
                           const ncclConfig_t* config) {
  if (config != nullptr && config->blocking == 0) return world->complete() ? ncclSuccess : ncclInProgress;
  return simulation.wait_until("the other ranks of a communicator", [world] { return world->complete(); }) ? ncclSuccess
                                                                                                           : kFailed;
}

}  // namespace

namespace annulus::cudasim {

size_t size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string NcclCall::text() const {
  const char* const kinds[] = {"send", "receive", "all-reduce", "reduce-scatter", "all-gather", "broadcast", "reduce"};
  const std::string what = fmt::format("{} of {} x {} bytes", kinds[static_cast<int>(kind)], count, size_of(type));
  if (kind == Kind::kSend) return fmt::format("{} to {}", what, peer);
  if (kind == Kind::kReceive || kind == Kind::kBroadcast) return fmt::format("{} from {}", what, peer);
  return what;
}

bool CommWorld::complete() const { return std::count(members.begin(), members.end(), nullptr) == 0; }

}  // namespace annulus::cudasim

std::string ncclComm::name() const { return fmt::format("communicator {}", world->id); }

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclSuccess      ? "no error"
         : result == ncclInProgress ? "in progress"
                                    : "an error of the simulated NCCL";
}
const char* ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static uint64_t ids = 0;
  std::memset(id, 0, sizeof(*id));
  ++ids;
  std::memcpy(id, &ids, sizeof(ids));
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return nccl([&](Simulation& simulation) {
    if (size < 1 || rank < 0 || rank >= size) return ncclInvalidArgument;
    uint64_t key;
    std::memcpy(&key, &id, sizeof(key));
    std::shared_ptr<CommWorld>& world = simulation.part<NcclState>().worlds[key];
    if (world == nullptr) world = make_world(size);
    if (world->size != size || world->members[static_cast<size_t>(rank)] != nullptr) return ncclInvalidUsage;
    *communicator = add_communicator(simulation, world, rank);
    return await_members(simulation, world, config);
  });
}
ncclResult_t ncclCommInitRank(ncclComm_t* communicator, int size, ncclUniqueId id, int rank) {
  return ncclCommInitRankConfig(communicator, size, id, rank, nullptr);
}

ncclResult_t ncclCommSplit(ncclComm_t communicator, int color, int key, ncclComm_t* made, ncclConfig_t* config) {
  return nccl([&](Simulation& simulation) {
    if (!is_communicator(simulation, communicator)) return ncclInvalidArgument;
    const std::shared_ptr<CommWorld> world = communicator->world;
    const uint64_t number = communicator->splits++;
    world->splits[number][communicator->rank] = {color, key};
    const auto size = static_cast<size_t>(world->size);
    if (!simulation.wait_until("the other ranks to split a communicator",
                               [world, number, size] { return world->splits.at(number).size() == size; }))
      return kFailed;
    *made = nullptr;
    if (color == NCCL_SPLIT_NOCOLOR) return ncclSuccess;
    std::vector<std::pair<int, int>> order;  // key, old rank
    for (const auto& [rank, request] : world->splits.at(number))
      if (request.color == color) order.emplace_back(request.key, rank);
    std::sort(order.begin(), order.end());
    std::shared_ptr<CommWorld>& part = world->parts[{number, color}];
    if (part == nullptr) part = make_world(static_cast<int>(order.size()));
    const auto mine = std::find(order.begin(), order.end(), std::make_pair(key, communicator->rank));
    *made = add_communicator(simulation, part, static_cast<int>(mine - order.begin()));
    return await_members(simulation, part, config);
  });
}

ncclResult_t ncclCommCount(const ncclComm_t communicator, int* count) {
  *count = communicator->world->size;
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t communicator, int* rank) {
  *rank = communicator->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t communicator, int* device) {
  *device = communicator->device;
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* error) {
  return nccl([&](Simulation& simulation) {
    if (!is_communicator(simulation, communicator)) return ncclInvalidArgument;
    const auto& members = communicator->world->members;
    const bool dead = std::any_of(members.begin(), members.end(), [&](const ncclComm* member) {
      return member != nullptr && simulation.rank_is_dead(member->host);
    });
    *error = dead && simulation.options().tell_of_dead_ranks ? ncclRemoteError
             : communicator->world->complete()               ? ncclSuccess
                                                             : ncclInProgress;
    return ncclSuccess;
  });
}

// Waits for its own work, as ncclCommFinalize() of a blocking communicator does.
ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  return nccl(
      [&](Simulation& simulation) {
        if (!is_communicator(simulation, communicator)) return ncclInvalidArgument;
        std::vector<Awaited> all;
        for (const auto& stream : simulation.streams())
          if (stream->device == communicator->device && stream->last != nullptr) all.push_back(stream->last);
        for (const Awaited& last : all)
          if (!simulation.wait_until("the end of " + communicator->name(), [last] { return last->reached; }))
            return kFailed;
        return ncclSuccess;
      },
      false);
}
// The communicator stays known until the simulation ends, for work that is still enqueued.
ncclResult_t ncclCommDestroy(ncclComm_t communicator) { return ncclCommFinalize(communicator); }

// What this rank has under way or enqueued comes to its end without having done anything; the others notice nothing.
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  return nccl(
      [&](Simulation& simulation) {
        if (!is_communicator(simulation, communicator)) return ncclInvalidArgument;
        communicator->aborted = true;
        return ncclSuccess;
      },
      false);
}

ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
  return cudaMalloc(pointer, bytes) == cudaSuccess ? ncclSuccess : kFailed;
}
ncclResult_t ncclMemFree(void* pointer) { return cudaFree(pointer) == cudaSuccess ? ncclSuccess : kFailed; }

ncclResult_t ncclCommRegister(const ncclComm_t communicator, void* buffer, size_t bytes, void** handle) {
  return nccl([&](Simulation& simulation) {
    if (!is_communicator(simulation, communicator) || !on_device(buffer)) return ncclInvalidArgument;
    simulation.memory().check(reinterpret_cast<uint64_t>(buffer), bytes, "registers");
    *handle = buffer;
    return ncclSuccess;
  });
}
ncclResult_t ncclCommDeregister(const ncclComm_t, void*) { return ncclSuccess; }

ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  return nccl([](Simulation& simulation) { return launch_group(simulation); });
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return enqueue(communicator, stream, {NcclCall::Kind::kSend, from, nullptr, count, type, ncclSum, peer});
}
ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t communicator,
                      cudaStream_t stream) {
  return enqueue(communicator, stream, {NcclCall::Kind::kReceive, nullptr, to, count, type, ncclSum, peer});
}
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                           ncclComm_t communicator, cudaStream_t stream) {
  return enqueue(communicator, stream, collective(NcclCall::Kind::kAllReduce, from, to, count, type, reduction, -1));
}
ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t reduction,
                               ncclComm_t communicator, cudaStream_t stream) {
  return enqueue(communicator, stream,
                 collective(NcclCall::Kind::kReduceScatter, from, to, count, type, reduction, -1));
}
ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t communicator,
                           cudaStream_t stream) {
  return enqueue(communicator, stream, collective(NcclCall::Kind::kAllGather, from, to, count, type, ncclSum, -1));
}
ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t communicator, cudaStream_t stream) {
  return enqueue(communicator, stream, collective(NcclCall::Kind::kBroadcast, from, to, count, type, ncclSum, root));
}
ncclResult_t ncclBcast(void* buffer, size_t count, ncclDataType_t type, int root, ncclComm_t communicator,
                       cudaStream_t stream) {
  return ncclBroadcast(buffer, buffer, count, type, root, communicator, stream);
}
ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t reduction, int root,
                        ncclComm_t communicator, cudaStream_t stream) {
  return enqueue(communicator, stream, collective(NcclCall::Kind::kReduce, from, to, count, type, reduction, root));
}

}  // extern "C"
