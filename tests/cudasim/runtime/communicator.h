#pragma once

#include <nccl.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

class NcclWork;

/// One call within a group.
struct NcclCall {
  enum class Kind : uint8_t { kSend, kReceive, kAllReduce, kReduceScatter, kAllGather, kBroadcast, kReduce };
  Kind kind;
  const void* from = nullptr;
  void* to = nullptr;
  size_t count = 0;  // elements, as the caller gave it
  ncclDataType_t type = ncclInt8;
  ncclRedOp_t reduction = ncclSum;
  int peer = -1;  // of a send or receive; the root of a broadcast or reduction

  bool point_to_point() const { return kind == Kind::kSend || kind == Kind::kReceive; }
  /// "all-reduce of 12 float32"
  std::string text() const;
};

size_t size_of(ncclDataType_t type);  // 0 for types that are not simulated

/// A call whose work has come to the head of its stream.
struct PostedCall {
  NcclCall call;
  NcclWork* work = nullptr;
  uint64_t number = 0;  // among the rank's collectives, or among the messages between the two ranks
  bool done = false;
};

/// What the ranks of a communicator share.
struct CommWorld {
  uint64_t id = 0;
  int size = 0;
  std::vector<ncclComm*> members;  // by rank; null: has not come yet
  std::map<std::pair<int, int>, std::pair<std::deque<PostedCall*>, std::deque<PostedCall*>>> messages;  // by from, to
  std::map<uint64_t, std::vector<PostedCall*>> collectives;  // those posted, by rank
  struct SplitRequest {
    int color, key;
    bool taken = false;
  };
  std::map<uint64_t, std::map<int, SplitRequest>> splits;                // by number of the split, then rank
  std::map<std::pair<uint64_t, int>, std::shared_ptr<CommWorld>> parts;  // by number and color

  bool complete() const;
};

}  // namespace annulus::cudasim

/// A rank's communicator: what the opaque ncclComm_t points to.
struct ncclComm {
  std::shared_ptr<annulus::cudasim::CommWorld> world;
  int rank = 0, device = 0, host = 0;  // host: the simulated process
  bool aborted = false;
  uint64_t collectives = 0, splits = 0;              // enqueued by this rank
  std::map<std::pair<int, int>, uint64_t> messages;  // enqueued by this rank, by from, to

  std::string name() const;
};

namespace annulus::cudasim {

/// The calls of one group on one communicator and stream: all are under way at once, and the work is over when all are.
class NcclWork : public Work {
 public:
  NcclWork(ncclComm& communicator, const std::vector<NcclCall>& calls);
  ~NcclWork() override;
  bool ready() const override;
  bool step(Simulation& simulation, Stream& stream) override;
  std::string waits_for() const override;

  ncclComm& communicator() const { return communicator_; }
  /// When and as what it was posted.
  const QueueClock& clock() const { return clock_; }
  uint32_t operation() const { return operation_; }
  /// What its stream does next comes after this, too.
  void learn(const QueueClock& clock);
  /// What must be in one order on all ranks.
  std::vector<std::tuple<uint64_t, int, int, uint64_t>> order_keys() const;

 private:
  bool all_done() const;

  ncclComm& communicator_;
  std::vector<std::unique_ptr<PostedCall>> calls_;
  bool posted_ = false, hangs_ = false;
  QueueClock clock_, learned_;
  uint32_t operation_ = 0;
};

/// Does what has all its participants, of this call's communicator.
void match(Simulation& simulation, CommWorld& world, PostedCall& call);

/// Notices ranks that enqueue the work of several communicators in different orders, which can deadlock: two
/// communicators' kernels may not fit a device at once.
class EnqueueOrder {
 public:
  using Key = std::tuple<uint64_t, int, int, uint64_t>;
  /// Rank `host` enqueues these, which go together. Returns what is wrong, or nothing.
  std::string add(int host, uint64_t communicator, const std::vector<Key>& keys, const std::string& name);

 private:
  int find(int node) const;
  int node_of(const Key& key);
  bool reaches(int from, int to) const;

  std::map<Key, int> nodes_;
  std::vector<int> parent_;
  std::vector<std::vector<int>> next_;
  std::vector<std::string> names_;
  std::map<int, std::map<uint64_t, int>> last_;  // by host and communicator
};

/// NCCL's state in a simulation.
struct NcclState {
  std::map<uint64_t, std::shared_ptr<CommWorld>> worlds;  // by unique id
  EnqueueOrder order;
  std::map<int, uint64_t> works;  // enqueued, by host
  std::vector<std::unique_ptr<ncclComm>> communicators;
};

}  // namespace annulus::cudasim
