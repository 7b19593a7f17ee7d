#include "runtime/trace_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "comm/clock.h"
#include "runtime/core/error.h"
#include "runtime/new_file.h"
#include "runtime/version.h"

namespace annulus {
namespace {

using Json = nlohmann::json;

// Processes and threads numbered 0 mean something else to Perfetto.
constexpr int kFirstId = 1;

std::string json_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string host_name() {
  char host[256] = "unknown host";
  gethostname(host, sizeof host - 1);
  return host;
}

// ---- writing

// The events of this rank, each on a line of its own behind a comma.
class Events {
 public:
  Events(const Timeline& timeline, int64_t clock_shift, const ParallelDims& dims, int rank)
      : shift_(clock_shift),
        first_of_ring_(rank - dims.ring_rank_of(rank)),
        ids_(fmt::format("\"pid\": {}, \"tid\": {}", dims.replica_of(rank) + kFirstId, rank + kFirstId)) {
    add_name("process_name", fmt::format("ring {}", dims.replica_of(rank)));
    add_name("thread_name", fmt::format("rank {} ({})", rank, host_name()));
    text_ += fmt::format(",\n{{\"name\": \"thread_sort_index\", \"ph\": \"M\", {}, \"args\": {{\"sort_index\": {}}}}}",
                         ids_, rank);
    for (const Span& span : timeline.spans()) add(span);
  }
  const std::string& text() const { return text_; }

 private:
  void add_name(const char* what, const std::string& name) {
    text_ += fmt::format(",\n{{\"name\": \"{}\", \"ph\": \"M\", {}, \"args\": {{\"name\": {}}}}}", what, ids_,
                         json_text(name));
  }

  void add(const Span& span) {
    const char* pass = span.layer < 0 ? "step" : span.backward ? "backward" : "forward";
    text_ += fmt::format(
        ",\n{{\"name\": \"{}\", \"cat\": \"{}\", \"ph\": \"X\", \"ts\": {}, \"dur\": {}, {}, \"args\": {{",
        name_of(span.activity), pass, microseconds(span.begin + shift_), microseconds(span.end - span.begin), ids_);
    const char* comma = "";
    const auto put = [&](const char* name, auto value) {
      text_ += fmt::format("{}\"{}\": {}", comma, name, value);
      comma = ", ";
    };
    if (span.micro_batch >= 0) put("micro_batch", span.micro_batch);
    if (span.layer >= 0) put("layer", span.layer);
    if (span.activity == Activity::kVisit) {
      put("visit", span.visit);
      put("block", first_of_ring_ + span.block);
      put("pairs", span.pairs);
      put("bytes", span.bytes);
    }
    if (span.activity == Activity::kWait) {
      put("peer", span.peer);
      put("for", json_text(span.what));
    }
    text_ += "}}";
  }

  static std::string microseconds(int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

  int64_t shift_;
  int first_of_ring_;
  std::string ids_, text_;
};

std::string header(const TraceFacts& facts, int64_t dropped, int64_t clock_error) {
  const Json other = {{"annulus", version_text()},
                      {"run", facts.run},
                      {"step", facts.step},
                      {"dp", facts.dims.dp},
                      {"cp", facts.dims.cp},
                      {"placement", facts.placement},
                      {"transport", facts.transport},
                      {"dropped_spans", dropped},
                      {"clock_error_us", static_cast<double>(clock_error) * 1e-3}};
  return fmt::format("{{\"displayTimeUnit\": \"ms\",\n\"otherData\": {},\n\"traceEvents\": [", json_text(other));
}

// Of one rank after the other, so that rank 0 holds one at a time. The file is not begun on other ranks.
void collect(const std::string& mine, Group& world, const std::function<void(std::string_view)>& take) {
  const std::vector<int64_t> sizes = world.all_gather(static_cast<int64_t>(mine.size()), "the trace of the step");
  if (world.rank() != 0) {
    const Group::Outgoing send = {0, mine.data(), static_cast<int64_t>(mine.size())};
    world.exchange({&send, 1}, {}, "the trace of the step");
    return;
  }
  take(mine);
  std::string text;
  for (int peer = 1; peer < world.size(); ++peer) {
    text.resize(static_cast<size_t>(sizes[static_cast<size_t>(peer)]));
    const Group::Incoming receive = {peer, text.data(), static_cast<int64_t>(text.size())};
    world.exchange({}, {&receive, 1}, "the trace of the step");
    take(text);
  }
}

}  // namespace

std::string write_trace(const std::string& path, const TraceFacts& facts, const Timeline& timeline, Group& world) {
  const ClockOffset clock = clock_offset(world);
  int64_t begin = 0;
  for (const Span& span : timeline.spans()) {
    const int64_t at = span.begin + clock.nanoseconds;
    begin = &span == timeline.spans().data() ? at : std::min(begin, at);
  }
  const int64_t zero = -world.max(-begin, "the beginning of the step");
  const int64_t dropped = world.sum(timeline.num_dropped(), "the size of the trace");
  const int64_t error = world.max(clock.nanoseconds == 0 ? 0 : clock.error, "the clocks' error");
  const Events events(timeline, clock.nanoseconds - zero, facts.dims, world.rank());
  std::string problem;
  std::unique_ptr<NewFile> file;
  const auto on_rank_0 = [&](auto&& write) {  // the other ranks must not wait for a disk that is full
    if (world.rank() != 0 || !problem.empty()) return;
    try {
      write();
    } catch (const UserError& failed) {
      problem = failed.what();
    }
  };
  on_rank_0([&] {
    file = std::make_unique<NewFile>(path);
    file->append(header(facts, dropped, error));
  });
  bool first = true;
  collect(events.text(), world, [&](std::string_view text) {
    if (std::exchange(first, false)) text.remove_prefix(1);  // its comma
    on_rank_0([&] { file->append(text); });
  });
  on_rank_0([&] {
    file->append("\n]}\n");
    file->commit();
  });
  return problem;
}

// ---- reading

namespace {

// Throws Json::exception where it is something else.
template <class T>
T number_of(const Json& object, const char* name, T otherwise) {
  const auto found = object.find(name);
  return found == object.end() ? otherwise : found->get<T>();
}

TraceFacts facts_of(const Json& other) {
  TraceFacts facts;
  facts.run = other.value("run", "");
  facts.step = number_of<int64_t>(other, "step", 0);
  facts.dims = {number_of(other, "dp", 0), number_of(other, "cp", 0)};
  facts.placement = other.value("placement", "");
  facts.transport = other.value("transport", "");
  return facts;
}

// Whether it is one of ours.
bool read_event(const Json& event, TraceSpan& span) {
  if (event.value("ph", "") != "X") return false;
  const std::string name = event.value("name", "");
  int activity = 0;
  while (activity < kNumActivities && name != name_of(static_cast<Activity>(activity))) ++activity;
  if (activity == kNumActivities) return false;
  const Json args = event.value("args", Json::object());
  span.activity = static_cast<Activity>(activity);
  span.backward = event.value("cat", "") == "backward";
  span.rank = number_of(event, "tid", 0) - kFirstId;
  span.micro_batch = number_of(args, "micro_batch", -1);
  span.layer = number_of(args, "layer", -1);
  span.visit = number_of(args, "visit", -1);
  span.block = number_of(args, "block", -1);
  span.peer = number_of(args, "peer", -1);
  span.pairs = number_of<int64_t>(args, "pairs", 0);
  span.bytes = number_of<int64_t>(args, "bytes", 0);
  span.begin = number_of(event, "ts", 0.0);
  span.end = span.begin + number_of(event, "dur", 0.0);
  return true;
}

bool fits(const TraceSpan& span, int ranks) {
  const auto is_rank = [&](int rank) { return -1 <= rank && rank < ranks; };
  return 0 <= span.rank && span.rank < ranks && is_rank(span.block) && is_rank(span.peer) &&
         std::isfinite(span.begin) && std::isfinite(span.end) && span.begin <= span.end;
}

}  // namespace

Trace read_trace(const std::string& path) {
  constexpr int kEventDepth = 2, kMostRanks = 65536;
  std::ifstream file(path);
  require(ExitCode::kData, file.good(), "there is no trace '", path, "'");
  Trace trace;
  bool types_hold = true;
  // Events are taken out as they are parsed, so that they never exist all at once as JSON.
  const auto take_event = [&](int depth, Json::parse_event_t what, Json& value) {
    if (depth != kEventDepth || what != Json::parse_event_t::object_end) return true;
    TraceSpan span;
    try {
      if (read_event(value, span)) trace.spans.push_back(span);
    } catch (const Json::exception&) {
      types_hold = false;
    }
    return false;
  };
  const Json whole = Json::parse(file, take_event, /*allow_exceptions=*/false);
  bool ok = types_hold && whole.is_object() && whole.contains("otherData") && whole["otherData"].is_object();
  try {
    if (ok) trace.facts = facts_of(whole["otherData"]);
    if (ok) trace.dropped_spans = number_of<int64_t>(whole["otherData"], "dropped_spans", 0);
    if (ok) trace.clock_error_us = number_of(whole["otherData"], "clock_error_us", 0.0);
  } catch (const Json::exception&) {
    ok = false;
  }
  const ParallelDims& dims = trace.facts.dims;
  ok = ok && 0 < dims.dp && dims.dp <= kMostRanks && 0 < dims.cp && dims.cp <= kMostRanks / dims.dp;
  for (const TraceSpan& span : trace.spans) ok = ok && fits(span, trace.num_ranks());
  require(ExitCode::kData, ok && !trace.spans.empty(), "'", path, "' is damaged, or no trace of annulus");
  std::stable_sort(trace.spans.begin(), trace.spans.end(), [](const TraceSpan& a, const TraceSpan& b) {
    if (a.rank != b.rank) return a.rank < b.rank;
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  return trace;
}

}  // namespace annulus
