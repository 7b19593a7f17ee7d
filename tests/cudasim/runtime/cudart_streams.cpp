// Streams and events.
#include <fmt/format.h>

#include <algorithm>

#include "tests/cudasim/runtime/calls.h"
#include "tests/cudasim/runtime/memory_work.h"

using namespace annulus::cudasim;

namespace {

struct Event {
  Awaited recorded;  // null before the first record: then waits for it wait for nothing
  bool timing;
};

Event* event_of(cudaEvent_t event) { return reinterpret_cast<Event*>(event); }

cudaError_t finished(Simulation& simulation, const std::string& what, const Awaited& milestone) {
  if (milestone == nullptr) return cudaSuccess;
  if (!simulation.wait_until(what, [milestone] { return milestone->reached; })) return cudaErrorLaunchFailure;
  simulation.learn(milestone);
  return cudaSuccess;
}

cudaError_t asked(Simulation& simulation, const Awaited& milestone) {
  if (milestone == nullptr) return cudaSuccess;
  if (!milestone->reached) return cudaErrorNotReady;
  simulation.learn(milestone);
  return cudaSuccess;
}

cudaError_t open(cudaStream_t* handle, bool blocking) {
  return call([&](Simulation& simulation) {
    *handle = reinterpret_cast<cudaStream_t>(&simulation.open_stream(simulation.host().device, blocking));
    return cudaSuccess;
  });
}

}  // namespace

namespace annulus::cudasim {

Stream* stream_of(Simulation& simulation, cudaStream_t handle) {
  if (handle == nullptr || handle == cudaStreamLegacy) return &simulation.default_stream(simulation.host().device);
  const auto& streams = simulation.streams();
  const auto found =
      std::find_if(streams.begin(), streams.end(), [&](const auto& s) { return s.get() == (void*)handle; });
  return found == streams.end() || (*found)->closed ? nullptr : found->get();
}

}  // namespace annulus::cudasim

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return open(stream, true); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return open(stream, flags != cudaStreamNonBlocking);
}
// Which stream goes first is never anything to rely on, so priorities change nothing.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return open(stream, flags != cudaStreamNonBlocking);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0, *greatest = -5;
  return cudaSuccess;
}

// What is still to be done is done.
cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return last_call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr || handle == nullptr) return cudaErrorInvalidResourceHandle;
    stream->closed = true;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return call([&](Simulation& simulation) {
    const Stream* stream = stream_of(simulation, handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle
                             : finished(simulation, "the end of " + stream->name, stream->last);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return call([&](Simulation& simulation) {
    const Stream* stream = stream_of(simulation, handle);
    return stream == nullptr ? cudaErrorInvalidResourceHandle : asked(simulation, stream->last);
  });
}

cudaError_t cudaDeviceSynchronize() {
  return call([&](Simulation& simulation) {
    std::vector<Awaited> all;
    for (const auto& stream : simulation.streams())
      if (stream->device == simulation.host().device) all.push_back(stream->last);
    for (const Awaited& last : all)
      if (const cudaError_t error = finished(simulation, "the end of its device's streams", last)) return error;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event_of(event)->recorded == nullptr) return cudaSuccess;
    auto wait = std::make_unique<Moment>("a wait for an event");
    wait->after.push_back(event_of(event)->recorded);
    simulation.enqueue(*stream, std::move(wait));
    return cudaSuccess;
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    simulation.enqueue(*stream,
                       std::make_unique<Moment>("a function of the host", [=](Simulation&) { function(data); }));
    return cudaSuccess;
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t, cudaStreamCaptureStatus* status) {
  *status = cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&](Simulation&) {
    *event = reinterpret_cast<cudaEvent_t>(new Event{nullptr, (flags & cudaEventDisableTiming) == 0});
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return last_call([&](Simulation&) {
    delete event_of(event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  return call([&](Simulation& simulation) {
    Stream* stream = stream_of(simulation, handle);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    event_of(event)->recorded = simulation.enqueue(*stream, std::make_unique<Moment>("the record of an event"));
    return cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](Simulation& simulation) { return finished(simulation, "an event", event_of(event)->recorded); });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](Simulation& simulation) { return asked(simulation, event_of(event)->recorded); });
}

// A step of the schedule counts as a microsecond.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  return call([&](Simulation&) {
    const Event &first = *event_of(from), &second = *event_of(to);
    if (!first.timing || !second.timing || !first.recorded || !second.recorded) return cudaErrorInvalidResourceHandle;
    if (!first.recorded->reached || !second.recorded->reached) return cudaErrorNotReady;
    *milliseconds = 1e-3f * (static_cast<float>(second.recorded->step) - static_cast<float>(first.recorded->step));
    return cudaSuccess;
  });
}

}  // extern "C"
