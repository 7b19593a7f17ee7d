#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <typeindex>
#include <vector>

#include "tests/cudasim/ptx/chance.h"
#include "tests/cudasim/ptx/launch.h"
#include "tests/cudasim/races/race_detector.h"

namespace annulus::cudasim {

/// Who goes first where there is a choice.
enum class Policy : uint8_t {
  kRandom,
  kHostFirst,    // devices work only while every host waits
  kDeviceFirst,  // hosts go on only while no device can
  kStarve        // the streams whose number is `starved` on their device come last
};

struct SimulationOptions {
  uint64_t seed = 0;  // 0: everything in order
  Policy policy = Policy::kRandom;
  uint32_t starved = 0;
  int devices = 1;
  uint64_t device_bytes = uint64_t{1} << 30;  // memory of each
  bool detect_races = true;
  Options kernels;            // seed and observer are the simulation's
  int kill_rank = -1;         // this rank dies
  uint64_t kill_at_call = 0;  // at its call of the runtime of this number, from 1
  int hang_rank = -1;         // NCCL's work of this rank
  uint64_t hang_at_work = 0;  // of this number, from 1, never ends
  /// Whether ncclCommGetAsyncError() tells that a rank has died. Within a node NCCL often does not.
  bool tell_of_dead_ranks = false;

  /// The same with all choices made by chance, among them policy, residency and when cp.async lands. 0: in order.
  SimulationOptions schedule(uint64_t number) const;
};

/// Ends the thread of a rank that options kill. Not a std::exception, so that nobody takes it for an error.
struct RankKilled {};

/// Something that streams, hosts and events wait for.
struct Milestone {
  bool reached = false;
  QueueClock clock;   // all that is over when it is reached
  uint64_t step = 0;  // of the schedule, when it was reached
  std::string name;   // what must happen, for reports
};
using Awaited = std::shared_ptr<Milestone>;

class Stream;
struct Host;
class Simulation;

/// What a stream does next. Steps are taken one at a time by the simulation, never two at once.
class Work {
 public:
  explicit Work(std::string work_name) : name(std::move(work_name)) {}
  virtual ~Work() = default;
  /// Whether it can do a step now.
  virtual bool ready() const { return true; }
  /// Does one, and returns true when the work is over.
  virtual bool step(Simulation& simulation, Stream& stream) = 0;
  /// Whom or what it waits for, where it is not ready.
  virtual std::string waits_for() const { return ""; }

  std::string name;
  QueueClock issued;           // what its host knew when it enqueued it
  std::vector<Awaited> after;  // besides the work before it in its stream
  Awaited done = std::make_shared<Milestone>();
};

/// A queue of a device; its work is done in order.
class Stream {
 public:
  int rank = 0, device = 0;
  uint32_t number = 0;    // of its device, in order of creation
  uint32_t queue = 0;     // for clocks
  bool closed = false;    // its handle is not valid any more
  bool blocking = false;  // waits for the device's default stream, and that for it
  std::string name;       // "stream 1 of rank 0"
  QueueClock clock;       // when its last work was over
  std::deque<std::unique_ptr<Work>> work;
  Awaited last;  // of the work enqueued last
};

/// A thread that calls the CUDA runtime: a rank of one process.
struct Host {
  int rank = 0, device = 0;
  uint32_t queue = 0;
  QueueClock clock;
  std::function<bool()> can_go_on;  // empty: it does not wait
  std::string waits_for;
  bool finished = false, killed = false, at_barrier = false;
  uint64_t calls = 0;
  std::condition_variable turn;
};

/// GPUs, the threads that use them and the order in which everything happens: exactly one host thread or one stream
/// does something at a time, and the seed decides which. There is at most one simulation at a time.
class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation();
  Simulation(const Simulation&) = delete;

  /// Runs body(rank) on a thread for each rank, rank r on device r % devices, until all have returned and the devices
  /// are idle. Throws the first thing that went wrong: a DeviceFault, or what a body threw.
  void run(int ranks, const std::function<void(int rank)>& body);

  /// The simulation whose rank the calling thread is; throws std::logic_error where it is none.
  static Simulation& current();
  static bool active();
  Host& host();

  /// A call of the runtime begins: others may go on before it does. False: the simulation has failed, and the call
  /// shall say so. Calls that destructors make may not be where a rank is killed, for destructors do not throw.
  bool enter(bool may_be_killed = true);
  /// The calling host goes on when the condition holds. False as above.
  bool wait_until(const std::string& what, std::function<bool()> condition);
  /// All ranks that have not returned meet, as at an MPI barrier.
  void meet_hosts();
  /// What nobody can mend. The first is what run() throws; from then on every call of the runtime fails.
  void fail(std::exception_ptr fault);
  void fail(FaultKind kind, const std::string& message);
  bool failed() const { return fault_ != nullptr; }
  bool rank_is_dead(int rank) const;

  Stream& open_stream(int device, bool blocking);
  Stream& default_stream(int device) { return *default_streams_.at(static_cast<size_t>(device)); }
  const std::vector<std::unique_ptr<Stream>>& streams() const { return streams_; }
  /// Adds to the stream's queue. Returns the milestone of its end.
  Awaited enqueue(Stream& stream, std::unique_ptr<Work> work);
  /// The stream's next work begins: an operation for the race detector, with the clocks of all it comes after.
  uint32_t begin(Stream& stream, const Work& work);
  /// The same for what the calling host does itself.
  uint32_t begin_on_host(const std::string& name);
  /// What the stream does next also comes after all of this.
  void join_clocks(Stream& stream, const QueueClock& clock);
  /// What the calling host knows includes the milestone from now on.
  void learn(const Awaited& milestone);

  Memory& memory() { return memory_; }
  uint64_t used_bytes(int device) const { return memory_.used_bytes(device); }
  void release(uint64_t address);
  /// The devices whose memory a device may access, as bits.
  uint64_t visible_from(int device) const { return visible_.at(static_cast<size_t>(device)); }
  void let_access(int device, int peer) { visible_.at(static_cast<size_t>(device)) |= uint64_t{1} << peer; }
  RaceDetector* races() { return options_.detect_races ? &races_ : nullptr; }
  Chance& chance() { return chance_; }
  const SimulationOptions& options() const { return options_; }
  uint64_t steps() const { return steps_; }
  /// The loaded copy of a module on a device.
  LoadedModule& module_on(int device, const std::shared_ptr<const Module>& module);
  /// Statistics of every kernel that ran, added up by name.
  const std::map<std::string, Statistics>& statistics() const { return statistics_; }
  void add_statistics(const std::string& kernel, const Statistics& statistics);
  uint64_t next_name() { return ++names_; }
  /// What another library (NCCL) keeps for as long as the simulation lasts.
  template <class T>
  T& part() {
    std::shared_ptr<void>& part = parts_[typeid(T)];
    if (part == nullptr) part = std::make_shared<T>();
    return *static_cast<T*>(part.get());
  }

 private:
  void body_of(Host& host, const std::function<void(int)>& body);
  void pass_on();
  size_t choose(const std::vector<Host*>& hosts, std::vector<Stream*>& streams);
  void hand_over(Host& from, Host& to);
  std::vector<Stream*> ready_streams() const;
  void step(Stream& stream);
  void finish(Stream& stream);
  bool is_over() const;
  void report_deadlock();

  SimulationOptions options_;
  Memory memory_;
  RaceDetector races_;
  Chance chance_;
  std::mutex mutex_;
  Host* running_ = nullptr;
  std::map<std::type_index, std::shared_ptr<void>> parts_;  // outlives the streams' work, which knows them
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::vector<Stream*> default_streams_;
  std::vector<uint64_t> visible_;
  uint32_t queues_ = 0;
  uint64_t steps_ = 0, names_ = 0, barriers_ = 0, calls_in_a_row_ = 0;
  QueueClock known_, barrier_clock_;  // known_: all that is over when a run begins
  std::exception_ptr fault_;
  std::map<std::pair<int, const Module*>, std::unique_ptr<LoadedModule>> modules_;
  std::map<std::string, Statistics> statistics_;
};

}  // namespace annulus::cudasim
