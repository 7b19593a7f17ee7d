#include "tests/cudasim/runtime/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

namespace annulus::cudasim {
namespace {

constexpr uint64_t kPatience = 500;  // calls of hosts in a row, while a stream could go on

Simulation* active_simulation = nullptr;
thread_local Host* this_host = nullptr;

void join(QueueClock& a, const QueueClock& b) {
  if (a.size() < b.size()) a.resize(b.size());
  for (size_t i = 0; i < b.size(); ++i) a[i] = std::max(a[i], b[i]);
}

void tick(QueueClock& clock, uint32_t queue) {
  if (clock.size() <= queue) clock.resize(queue + 1);
  ++clock[queue];
}

}  // namespace

SimulationOptions SimulationOptions::schedule(uint64_t number) const {
  SimulationOptions made = *this;
  made.seed = number;
  if (number == 0) return made;
  Chance chance(number);
  made.policy = static_cast<Policy>(chance.below(4));
  made.starved = static_cast<uint32_t>(chance.below(4));
  made.kernels.copies = static_cast<Options::Copies>(chance.below(3));
  made.kernels.resident_blocks = static_cast<uint32_t>(1 + chance.below(4));
  return made;
}

Simulation::Simulation(const SimulationOptions& options) : options_(options), races_(memory_), chance_(options.seed) {
  if (active_simulation != nullptr) throw std::logic_error("there is a simulation already");
  active_simulation = this;
  for (int device = 0; device < options_.devices; ++device) {
    default_streams_.push_back(&open_stream(device, true));
    visible_.push_back(uint64_t{1} << device);
  }
}

Simulation::~Simulation() { active_simulation = nullptr; }

bool Simulation::active() { return active_simulation != nullptr && this_host != nullptr; }

Simulation& Simulation::current() {
  if (!active()) throw std::logic_error("a call of the CUDA runtime outside Simulation::run()");
  return *active_simulation;
}

Host& Simulation::host() { return *this_host; }

void Simulation::run(int ranks, const std::function<void(int rank)>& body) {
  hosts_.clear();
  for (int rank = 0; rank < ranks; ++rank) {
    hosts_.push_back(std::make_unique<Host>());
    Host& host = *hosts_.back();
    host.rank = rank;
    host.device = rank % options_.devices;
    host.queue = queues_++;
    host.clock = known_;
  }
  std::vector<std::thread> threads;
  for (const auto& host : hosts_) threads.emplace_back([&] { body_of(*host, body); });
  {
    const std::lock_guard lock(mutex_);
    running_ = hosts_.front().get();
    running_->turn.notify_one();
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& host : hosts_) join(known_, host->clock);
  for (const auto& stream : streams_) join(known_, stream->clock);
  if (fault_ != nullptr) std::rethrow_exception(std::exchange(fault_, nullptr));
}

void Simulation::body_of(Host& host, const std::function<void(int)>& body) {
  {
    std::unique_lock lock(mutex_);
    host.turn.wait(lock, [&] { return running_ == &host; });
  }
  this_host = &host;
  try {
    body(host.rank);
  } catch (const RankKilled&) {
    host.killed = true;
  } catch (...) {
    fail(std::current_exception());
  }
  host.finished = true;
  pass_on();  // to hosts that are left; the last one also waits until the devices are idle
  this_host = nullptr;
}

bool Simulation::enter(bool may_be_killed) {
  Host& me = host();
  if (may_be_killed && options_.kill_rank == me.rank && ++me.calls == options_.kill_at_call) throw RankKilled{};
  return wait_until("", nullptr);
}

bool Simulation::wait_until(const std::string& what, std::function<bool()> condition) {
  if (failed()) return false;
  Host& me = host();
  me.waits_for = what;
  me.can_go_on = std::move(condition);
  pass_on();
  me.can_go_on = nullptr;
  return !failed();
}

// Lets hosts and streams go on until it is the calling host's turn again or, when it has finished, nothing is left.
void Simulation::pass_on() {
  Host& me = host();
  for (;;) {
    std::vector<Host*> hosts;
    for (const auto& host : hosts_)
      if (!host->finished && (failed() || !host->can_go_on || host->can_go_on())) hosts.push_back(host.get());
    std::vector<Stream*> streams = failed() ? std::vector<Stream*>{} : ready_streams();
    if (failed() && !me.finished) return;
    if (hosts.empty() && streams.empty()) {
      if (is_over()) return;
      report_deadlock();
      continue;
    }
    ++steps_;
    const size_t choice = choose(hosts, streams);
    if (choice < streams.size()) {
      step(*streams[choice]);
    } else if (Host* next = hosts[choice - streams.size()]; next != &me) {
      hand_over(me, *next);
      return;
    } else {
      return;
    }
  }
}

// Streams first, then hosts.
size_t Simulation::choose(const std::vector<Host*>& hosts, std::vector<Stream*>& streams) {
  // A host that asks again and again whether a stream is done must get its answer some time.
  if (!streams.empty() && ++calls_in_a_row_ > kPatience) return chance_.below(streams.size());
  const Policy policy = options_.seed == 0 ? Policy::kHostFirst : options_.policy;
  if (policy == Policy::kStarve && streams.size() + hosts.size() > 1) {
    const auto starved = [&](const Stream* stream) { return stream->number == options_.starved; };
    if (!hosts.empty() || !std::all_of(streams.begin(), streams.end(), starved)) std::erase_if(streams, starved);
  }
  const bool host = streams.empty() || (!hosts.empty() && policy == Policy::kHostFirst);
  const bool stream = hosts.empty() || (!streams.empty() && policy == Policy::kDeviceFirst);
  if (options_.seed == 0) {
    const auto me = std::find(hosts.begin(), hosts.end(), &this->host());
    return !host ? 0 : streams.size() + static_cast<size_t>(me == hosts.end() ? 0 : me - hosts.begin());
  }
  if (host) return streams.size() + chance_.below(hosts.size());
  return chance_.below(stream ? streams.size() : streams.size() + hosts.size());
}

void Simulation::hand_over(Host& from, Host& to) {
  std::unique_lock lock(mutex_);
  running_ = &to;
  to.turn.notify_one();
  if (!from.finished) from.turn.wait(lock, [&] { return running_ == &from; });
}

std::vector<Stream*> Simulation::ready_streams() const {
  std::vector<Stream*> ready;
  for (const auto& stream : streams_) {
    if (stream->work.empty() || rank_is_dead(stream->rank)) continue;
    const Work& next = *stream->work.front();
    const bool may = std::all_of(next.after.begin(), next.after.end(), [](const Awaited& a) { return a->reached; });
    if (may && next.ready()) ready.push_back(stream.get());
  }
  return ready;
}

void Simulation::step(Stream& stream) {
  calls_in_a_row_ = 0;
  try {
    Work& next = *stream.work.front();
    if (!next.step(*this, stream)) return;
    finish(stream);
  } catch (const DeviceFault&) {
    fail(std::current_exception());
  } catch (const std::exception& wrong) {
    fail(FaultKind::kHost, fmt::format("{} on {}: {}", stream.work.front()->name, stream.name, wrong.what()));
  }
}

void Simulation::finish(Stream& stream) {
  Milestone& done = *stream.work.front()->done;
  done.reached = true;
  done.clock = stream.clock;
  done.step = steps_;
  stream.work.pop_front();
}

uint32_t Simulation::begin(Stream& stream, const Work& work) {
  join(stream.clock, work.issued);
  for (const Awaited& milestone : work.after) join(stream.clock, milestone->clock);
  tick(stream.clock, stream.queue);
  return options_.detect_races
             ? races_.begin(fmt::format("{} on {}", work.name, stream.name), stream.queue, stream.clock)
             : 0;
}

void Simulation::join_clocks(Stream& stream, const QueueClock& clock) { join(stream.clock, clock); }

uint32_t Simulation::begin_on_host(const std::string& name) {
  Host& me = host();
  tick(me.clock, me.queue);
  return options_.detect_races ? races_.begin(fmt::format("{} by rank {}", name, me.rank), me.queue, me.clock) : 0;
}

Stream& Simulation::open_stream(int device, bool blocking) {
  auto stream = std::make_unique<Stream>();
  stream->device = device;
  stream->rank = this_host != nullptr ? this_host->rank : -1;
  stream->number = static_cast<uint32_t>(
      std::count_if(streams_.begin(), streams_.end(), [&](const auto& other) { return other->device == device; }));
  stream->queue = queues_++;
  stream->blocking = blocking;
  stream->name = stream->number == 0 ? fmt::format("the default stream of device {}", device)
                                     : fmt::format("stream {} of device {}", stream->number, device);
  streams_.push_back(std::move(stream));
  return *streams_.back();
}

Awaited Simulation::enqueue(Stream& stream, std::unique_ptr<Work> work) {
  Host& me = host();
  tick(me.clock, me.queue);
  work->issued = me.clock;
  work->done->name = fmt::format("{} on {}", work->name, stream.name);
  const auto after = [&](const Stream& other) {
    if (other.last != nullptr && !other.last->reached) work->after.push_back(other.last);
    if (other.last != nullptr && other.last->reached) join(work->issued, other.last->clock);
  };
  Stream& main = default_stream(stream.device);
  if (&stream == &main) {
    for (const auto& other : streams_)
      if (other->device == stream.device && other->blocking && other.get() != &stream) after(*other);
  } else if (stream.blocking) {
    after(main);
  }
  stream.last = work->done;
  stream.work.push_back(std::move(work));
  return stream.last;
}

void Simulation::release(uint64_t address) {
  memory_.release(address);
  races_.forget(address);
}

void Simulation::learn(const Awaited& milestone) { join(host().clock, milestone->clock); }

void Simulation::meet_hosts() {
  const uint64_t generation = barriers_;
  Host& me = host();
  me.at_barrier = true;
  const auto missing = [&] {
    return std::count_if(hosts_.begin(), hosts_.end(), [](const auto& h) { return !h->at_barrier && !h->finished; });
  };
  if (missing() == 0) {
    for (const auto& host : hosts_) join(barrier_clock_, host->clock), host->at_barrier = false;
    for (const auto& host : hosts_) host->clock = barrier_clock_;
    ++barriers_;
  }
  wait_until("the other ranks at a barrier", [this, generation] { return barriers_ != generation; });
}

void Simulation::fail(std::exception_ptr fault) {
  if (fault_ == nullptr) fault_ = std::move(fault);
}

void Simulation::fail(FaultKind kind, const std::string& message) {
  DeviceFault::Place place;
  place.one_thread = false;
  fail(std::make_exception_ptr(DeviceFault(kind, place, message)));
}

bool Simulation::rank_is_dead(int rank) const {
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [&](const auto& host) { return host->rank == rank && host->killed; });
}

// No host is left, and no stream that could still do something.
bool Simulation::is_over() const {
  if (failed()) return std::all_of(hosts_.begin(), hosts_.end(), [](const auto& host) { return host->finished; });
  return std::all_of(hosts_.begin(), hosts_.end(), [](const auto& host) { return host->finished; }) &&
         std::all_of(streams_.begin(), streams_.end(),
                     [&](const auto& stream) { return stream->work.empty() || rank_is_dead(stream->rank); });
}

void Simulation::report_deadlock() {
  std::string text = "deadlock, nobody can go on:";
  for (const auto& host : hosts_) {
    if (host->killed) text += fmt::format("\n  rank {} was killed", host->rank);
    if (!host->finished) text += fmt::format("\n  rank {} waits for {}", host->rank, host->waits_for);
  }
  for (const auto& stream : streams_) {
    if (stream->work.empty()) continue;
    const Work& head = *stream->work.front();
    text += fmt::format("\n  {}: {}", stream->name, head.name);
    for (const Awaited& milestone : head.after)
      if (!milestone->reached) text += " waits for " + milestone->name;
    if (!head.ready()) text += " waits for " + head.waits_for();
    if (stream->work.size() > 1) text += fmt::format(", and {} behind it", stream->work.size() - 1);
  }
  fail(FaultKind::kDeadlock, text);
}

void Simulation::add_statistics(const std::string& kernel, const Statistics& statistics) {
  statistics_[kernel].add(statistics);
}

LoadedModule& Simulation::module_on(int device, const std::shared_ptr<const Module>& module) {
  std::unique_ptr<LoadedModule>& loaded = modules_[{device, module.get()}];
  if (loaded == nullptr) loaded = std::make_unique<LoadedModule>(module, memory_, device);
  return *loaded;
}

}  // namespace annulus::cudasim
