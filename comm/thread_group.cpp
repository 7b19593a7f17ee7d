#include "comm/thread_group.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <numeric>
#include <thread>

#include "runtime/core/error.h"

namespace annulus {

// One message at a time from each rank to each other: the sender posts a pointer, the receiver copies from it.
struct ThreadGroup::Shared {
  enum Mail : uint32_t { kEmpty, kPosted, kBeingRead };
  struct Mailbox {
    const void* data = nullptr;
    int64_t bytes = 0;
    std::atomic<uint32_t> mail{kEmpty};
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

// What is left to do of one exchange.
class ThreadGroup::Exchange {
 public:
  Exchange(Shared& shared, int rank, std::span<const Outgoing> sends, std::span<const Incoming> receives,
           const char* what)
      : shared_(shared),
        rank_(rank),
        sends_(sends),
        receives_(receives),
        what_(what),
        sent_(sends.size(), State::kWaiting),
        received_(receives.size(), State::kWaiting) {}

  // A message that is given up (an error, a time limit) must not be read any more: its memory is about to go.
  ~Exchange() {
    for (size_t i = 0; i < sends_.size(); ++i) {
      if (sent_[i] != State::kPosted) continue;
      std::atomic<uint32_t>& mail = shared_.mailbox(rank_, sends_[i].peer).mail;
      uint32_t posted = Shared::kPosted;
      if (!mail.compare_exchange_strong(posted, Shared::kEmpty))
        while (mail.load(std::memory_order_acquire) == Shared::kBeingRead) std::this_thread::yield();
    }
  }

  bool advance() {
    missing_ = -1;
    for (size_t i = 0; i < receives_.size(); ++i)
      if (!advance_receive(i) && missing_ < 0) missing_ = receives_[i].peer;
    for (size_t i = 0; i < sends_.size(); ++i)
      if (!advance_send(i) && missing_ < 0) missing_ = sends_[i].peer;
    return missing_ < 0;
  }

  int missing() const { return missing_; }  // the peer that is waited for, after advance() returned false

 private:
  enum class State { kWaiting, kPosted, kDone };

  // True when nothing earlier in the list still concerns the same peer: messages keep their order.
  template <class Messages>
  static bool first_of_its_peer(const Messages& messages, const std::vector<State>& states, size_t index) {
    for (size_t i = 0; i < index; ++i)
      if (messages[i].peer == messages[index].peer && states[i] != State::kDone) return false;
    return true;
  }

  bool advance_send(size_t i) {
    Shared::Mailbox& box = shared_.mailbox(rank_, sends_[i].peer);
    if (sent_[i] == State::kWaiting && first_of_its_peer(sends_, sent_, i)) {
      box.data = sends_[i].data;
      box.bytes = sends_[i].bytes;
      box.mail.store(Shared::kPosted, std::memory_order_release);
      shared_.doorbell(sends_[i].peer).add(1);
      sent_[i] = State::kPosted;
    } else if (sent_[i] == State::kPosted && box.mail.load(std::memory_order_acquire) == Shared::kEmpty) {
      sent_[i] = State::kDone;
    }
    return sent_[i] == State::kDone;
  }

  bool advance_receive(size_t i) {
    if (received_[i] != State::kWaiting || !first_of_its_peer(receives_, received_, i))
      return received_[i] == State::kDone;
    Shared::Mailbox& box = shared_.mailbox(receives_[i].peer, rank_);
    uint32_t posted = Shared::kPosted;
    if (!box.mail.compare_exchange_strong(posted, Shared::kBeingRead, std::memory_order_acquire)) return false;
    const int64_t bytes = box.bytes;
    if (bytes == receives_[i].bytes && bytes > 0) std::memcpy(receives_[i].data, box.data, static_cast<size_t>(bytes));
    box.mail.store(Shared::kEmpty, std::memory_order_release);
    shared_.doorbell(receives_[i].peer).add(1);
    invariant(bytes == receives_[i].bytes, what_, ": rank ", receives_[i].peer, " sends ", bytes, " bytes where rank ",
              rank_, " expects ", receives_[i].bytes);
    received_[i] = State::kDone;
    return true;
  }

  Shared& shared_;
  int rank_;
  std::span<const Outgoing> sends_;
  std::span<const Incoming> receives_;
  const char* what_;
  std::vector<State> sent_, received_;
  int missing_ = -1;
};

void ThreadGroup::exchange(std::span<const Outgoing> sends, std::span<const Incoming> receives, const char* what) {
  Exchange rest(*shared_, rank_, sends, receives, what);
  int missing = world_rank(rank_);
  auto all_done = [&] {
    const bool done = rest.advance();
    if (!done) missing = world_rank(rest.missing());
    return done;
  };
  wait_for(all_done, what, missing, limits_, &shared_->doorbell(rank_));
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
