#include "comm/thread_group.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>
#include <thread>

#include "runtime/core/error.h"

namespace annulus {

// One message at a time from each rank to each other: the sender posts a pointer, the receiver copies and says so.
struct ThreadGroup::Shared {
  struct Mailbox {
    const void* data = nullptr;
    int64_t bytes = 0;
    std::atomic<uint32_t> posted{0}, taken{0};
  };

  explicit Shared(int n)
      : size(n), mailboxes(static_cast<size_t>(n) * static_cast<size_t>(n)), doorbells(static_cast<size_t>(n)) {}

  Mailbox& mailbox(int from, int to) { return mailboxes[static_cast<size_t>(from * size + to)]; }
  Signal& doorbell(int rank) { return doorbells[static_cast<size_t>(rank)]; }  // rung when something may go on there

  int size;
  std::vector<Mailbox> mailboxes;
  std::vector<Signal> doorbells;
};

ThreadGroup::ThreadGroup(std::shared_ptr<Shared> shared, int rank, std::vector<int> world_ranks, WaitLimits limits)
    : Group(rank, std::move(world_ranks), limits), shared_(std::move(shared)) {}

std::vector<std::unique_ptr<Group>> ThreadGroup::make(int size, const std::atomic<bool>* cancelled) {
  WaitLimits limits;
  limits.cancelled = cancelled;
  const auto shared = std::make_shared<Shared>(size);
  std::vector<int> world(static_cast<size_t>(size));
  std::iota(world.begin(), world.end(), 0);
  std::vector<std::unique_ptr<Group>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.emplace_back(new ThreadGroup(shared, rank, world, limits));
  return ranks;
}

void ThreadGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) {
  enum class State { kWaiting, kPosted, kDone };
  std::vector<State> sent(sends.size(), State::kWaiting), received(receives.size(), State::kWaiting);

  // True when nothing earlier in the list still concerns the same peer: messages keep their order.
  auto first_of_its_peer = [](const auto& messages, const std::vector<State>& states, size_t index) {
    for (size_t i = 0; i < index; ++i)
      if (messages[i].peer == messages[index].peer && states[i] != State::kDone) return false;
    return true;
  };
  auto advance_send = [&](size_t i) {
    Shared::Mailbox& box = shared_->mailbox(rank_, sends[i].peer);
    const uint32_t posted = box.posted.load(std::memory_order_relaxed);
    if (sent[i] == State::kWaiting && first_of_its_peer(sends, sent, i)) {
      box.data = sends[i].data;
      box.bytes = sends[i].bytes;
      box.posted.store(posted + 1, std::memory_order_release);
      shared_->doorbell(sends[i].peer).add(1);
      sent[i] = State::kPosted;
    } else if (sent[i] == State::kPosted && box.taken.load(std::memory_order_acquire) == posted) {
      sent[i] = State::kDone;
    }
    return sent[i] == State::kDone;
  };
  auto advance_receive = [&](size_t i) {
    Shared::Mailbox& box = shared_->mailbox(receives[i].peer, rank_);
    const uint32_t taken = box.taken.load(std::memory_order_relaxed);
    if (received[i] == State::kWaiting && first_of_its_peer(receives, received, i) &&
        box.posted.load(std::memory_order_acquire) != taken) {
      invariant(box.bytes == receives[i].bytes, what, ": rank ", receives[i].peer, " sends ", box.bytes,
                " bytes where rank ", rank_, " expects ", receives[i].bytes);
      if (box.bytes > 0) std::memcpy(receives[i].data, box.data, static_cast<size_t>(box.bytes));
      box.taken.store(taken + 1, std::memory_order_release);
      shared_->doorbell(receives[i].peer).add(1);
      received[i] = State::kDone;
    }
    return received[i] == State::kDone;
  };
  auto all_done = [&] {
    bool done = true;
    for (size_t i = 0; i < receives.size(); ++i) done &= advance_receive(i);
    for (size_t i = 0; i < sends.size(); ++i) done &= advance_send(i);
    return done;
  };
  const int peer = !receives.empty() ? receives[0].peer : !sends.empty() ? sends[0].peer : rank_;
  wait_for(all_done, what, world_rank(peer), limits_, &shared_->doorbell(rank_));
}

std::unique_ptr<Group> ThreadGroup::split(int colour) {
  const std::vector<int> members = members_of(colour);
  const int leader = members.front();
  const auto new_rank = static_cast<int>(std::find(members.begin(), members.end(), rank_) - members.begin());
  // The lowest rank of each colour makes the shared part; the others copy its pointer while it is kept alive.
  const std::shared_ptr<Shared> made =
      rank_ == leader ? std::make_shared<Shared>(static_cast<int>(members.size())) : nullptr;
  const std::vector<int64_t> addresses =
      all_gather(static_cast<int64_t>(reinterpret_cast<intptr_t>(&made)), "splitting a group");
  const std::shared_ptr<Shared> shared =
      *reinterpret_cast<const std::shared_ptr<Shared>*>(static_cast<intptr_t>(addresses[static_cast<size_t>(leader)]));
  barrier("splitting a group");
  return std::unique_ptr<Group>(new ThreadGroup(shared, new_rank, to_world(members), limits_));
}

void run_as_threads(int size, const std::function<void(Group&)>& body) {
  std::atomic<bool> cancelled{false};
  std::vector<std::exception_ptr> errors(static_cast<size_t>(size));
  {
    const auto groups = ThreadGroup::make(size, &cancelled);
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < size; ++rank)
      threads.emplace_back([&, rank] {
        try {
          body(*groups[static_cast<size_t>(rank)]);
        } catch (const Cancelled&) {  // another rank has the error
        } catch (...) {
          errors[static_cast<size_t>(rank)] = std::current_exception();
          cancelled = true;
        }
      });
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace annulus
