#pragma once
// Ranks as threads of one process, over ordinary memory: for tests, for debugging, and for a run without any launcher.
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "comm/group.h"

namespace annulus {

class ThreadGroup : public Group {
 public:
  void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) override;
  std::unique_ptr<Group> split(int colour) override;
  const char* kind() const override { return "in-process"; }

  /// One group of `size` ranks; element r belongs to the thread that will be rank r. `cancelled` ends all waits.
  static std::vector<std::unique_ptr<Group>> make(int size, const std::atomic<bool>* cancelled = nullptr);

 private:
  struct Shared;
  class Exchange;
  ThreadGroup(std::shared_ptr<Shared> shared, int rank, std::vector<int> world_ranks, WaitLimits limits);

  std::shared_ptr<Shared> shared_;
};

/// Runs body(rank's group) on `size` threads as ranks and returns when all have ended. The first exception (of the
/// lowest rank that failed by itself) is thrown here; the other ranks' waits are cancelled.
void run_as_threads(int size, const std::function<void(Group&)>& body);

}  // namespace annulus
