#include <fmt/format.h>

#include <algorithm>

#include "tests/cudasim/runtime/collectives.h"
#include "tests/cudasim/runtime/communicator.h"

namespace annulus::cudasim {
namespace {

using Kind = NcclCall::Kind;

std::pair<int, int> route(const ncclComm& communicator, const NcclCall& call) {
  return call.kind == Kind::kSend ? std::make_pair(communicator.rank, call.peer)
                                  : std::make_pair(call.peer, communicator.rank);
}

}  // namespace

NcclWork::NcclWork(ncclComm& communicator, const std::vector<NcclCall>& calls) : Work(""), communicator_(communicator) {
  for (const NcclCall& call : calls) {
    calls_.push_back(std::make_unique<PostedCall>());
    PostedCall& posted = *calls_.back();
    posted.call = call;
    posted.work = this;
    posted.number =
        call.point_to_point() ? communicator.messages[route(communicator, call)]++ : communicator.collectives++;
    name += (name.empty() ? "" : " and ") + call.text();
  }
  name += " in " + communicator.name();
  Simulation& simulation = Simulation::current();
  const uint64_t number = ++simulation.part<NcclState>().works[communicator.host];
  hangs_ = simulation.options().hang_rank == communicator.host && simulation.options().hang_at_work == number;
}

// Of an aborted communicator: nobody may find it any more.
NcclWork::~NcclWork() {
  const auto gone = [&](const PostedCall* call) { return call != nullptr && call->work == this; };
  for (auto& [ranks, queues] : communicator_.world->messages) {
    std::erase_if(queues.first, gone);
    std::erase_if(queues.second, gone);
  }
  for (auto& [number, calls] : communicator_.world->collectives)
    for (PostedCall*& call : calls)
      if (gone(call)) call = nullptr;
}

bool NcclWork::all_done() const {
  return communicator_.aborted ||
         std::all_of(calls_.begin(), calls_.end(), [](const auto& call) { return call->done; });
}

bool NcclWork::ready() const { return communicator_.aborted || (!hangs_ && (!posted_ || all_done())); }

bool NcclWork::step(Simulation& simulation, Stream& stream) {
  if (!posted_) {
    posted_ = true;
    operation_ = simulation.begin(stream, *this);
    clock_ = stream.clock;
    if (communicator_.aborted) return true;
    CommWorld& world = *communicator_.world;
    for (const auto& call : calls_) {
      if (call->call.point_to_point()) {
        auto& [sends, receives] = world.messages[route(communicator_, call->call)];
        (call->call.kind == Kind::kSend ? sends : receives).push_back(call.get());
      } else {
        std::vector<PostedCall*>& ranks = world.collectives[call->number];
        ranks.resize(static_cast<size_t>(world.size));
        ranks[static_cast<size_t>(communicator_.rank)] = call.get();
      }
      match(simulation, world, *call);
    }
  }
  if (!all_done()) return false;
  simulation.join_clocks(stream, learned_);
  return true;
}

void NcclWork::learn(const QueueClock& clock) {
  if (learned_.size() < clock.size()) learned_.resize(clock.size());
  for (size_t i = 0; i < clock.size(); ++i) learned_[i] = std::max(learned_[i], clock[i]);
}

std::string NcclWork::waits_for() const {
  if (hangs_) return "nothing: it never ends, as it was told to";
  std::string text;
  const CommWorld& world = *communicator_.world;
  const auto add = [&](int rank) {
    text += fmt::format("{}rank {}", text.empty() ? "" : " and ", world.members[static_cast<size_t>(rank)]->host);
  };
  for (const auto& posted : calls_) {
    if (posted->done) continue;
    if (posted->call.point_to_point()) {
      add(posted->call.peer);
      text += posted->call.kind == Kind::kSend ? " to receive" : " to send";
      continue;
    }
    const auto ranks = world.collectives.find(posted->number);
    for (int rank = 0; ranks != world.collectives.end() && rank < world.size; ++rank)
      if (ranks->second[static_cast<size_t>(rank)] == nullptr) add(rank);
  }
  return text;
}

std::vector<std::tuple<uint64_t, int, int, uint64_t>> NcclWork::order_keys() const {
  std::vector<std::tuple<uint64_t, int, int, uint64_t>> keys;
  for (const auto& posted : calls_) {
    const auto [from, to] = posted->call.point_to_point() ? route(communicator_, posted->call) : std::make_pair(-1, -1);
    keys.emplace_back(communicator_.world->id, from, to, posted->number);
  }
  return keys;
}

void match(Simulation& simulation, CommWorld& world, PostedCall& call) {
  if (call.call.point_to_point()) {
    auto& [sends, receives] = world.messages[route(call.work->communicator(), call.call)];
    while (!sends.empty() && !receives.empty()) {
      PostedCall &send = *sends.front(), &receive = *receives.front();
      sends.pop_front();
      receives.pop_front();
      pass_message(simulation, send, receive);
    }
    return;
  }
  const auto ranks = world.collectives.find(call.number);
  if (std::count(ranks->second.begin(), ranks->second.end(), nullptr) > 0) return;
  const std::vector<PostedCall*> all = std::move(ranks->second);
  world.collectives.erase(ranks);
  do_collective(simulation, all);
}

}  // namespace annulus::cudasim
