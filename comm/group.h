#pragma once
// Some ranks that talk to each other: numbers 0..size-1, one message primitive, and the collectives built on it. Every
// reduction adds in rank order, so that its bits are the same in each run and on every rank.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/wait.h"

namespace annulus {

class Group {
 public:
  struct Outgoing {
    int peer;
    const void* data;
    int64_t bytes;
  };
  struct Incoming {
    int peer;
    void* data;
    int64_t bytes;
  };

  virtual ~Group() = default;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// The number that messages to people use for a rank of this group: its rank in the world that the group was split
  /// from.
  int world_rank(int rank) const { return world_ranks_[static_cast<size_t>(rank)]; }

  const WaitLimits& limits() const { return limits_; }
  void set_timeout(double seconds) { limits_.timeout_seconds = seconds; }

  /// Sends and receives all of these, and returns when all are done. Messages between two ranks keep their order and
  /// must agree in size; none goes to the own rank. Throws UserError (75) naming `what` if a peer does not answer in
  /// time.
  virtual void exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) = 0;

  /// Collective: the ranks that give the same colour form a new group, in the order of their ranks here.
  virtual std::unique_ptr<Group> split(int colour) = 0;

  /// "mpi" or "in-process": what the ranks are.
  virtual const char* kind() const = 0;
  bool is_of_threads() const { return kind() == std::string_view("in-process"); }

  // Collectives: all ranks of the group call them, in the same order.
  void barrier(const char* what);
  void broadcast(void* data, int64_t bytes, int root, const char* what);
  std::string broadcast(const std::string& text, int root, const char* what);
  std::vector<int64_t> all_gather(int64_t mine, const char* what);
  std::vector<double> all_gather(double mine, const char* what);
  double sum(double mine, const char* what);                      // in rank order, on every rank
  void sum_in_place(std::span<double> values, const char* what);  // elementwise
  int64_t sum(int64_t mine, const char* what);
  int64_t max(int64_t mine, const char* what);
  std::vector<std::string> gather(const std::string& mine, int root, const char* what);  // empty but on the root

 protected:
  Group(int rank, std::vector<int> world_ranks, WaitLimits limits)
      : rank_(rank),
        size_(static_cast<int>(world_ranks.size())),
        world_ranks_(std::move(world_ranks)),
        limits_(limits) {}

  /// Collective: the members of my part of a split, as ranks of this group.
  std::vector<int> members_of(int colour);
  std::vector<int> to_world(const std::vector<int>& ranks) const;

  int rank_, size_;
  std::vector<int> world_ranks_;
  WaitLimits limits_;

 private:
  void all_gather_bytes(void* all, const void* mine, int64_t bytes, const char* what);
};

}  // namespace annulus
