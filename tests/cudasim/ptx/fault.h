#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace annulus::cudasim {

/// PTX that this interpreter cannot read or does not know: names the line, and the kernel where there is one.
class PtxError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

enum class FaultKind {
  kOutOfBounds,
  kMisaligned,
  kUninitialised,  // a read of memory that nobody wrote
  kRace,           // two accesses that nothing orders
  kInFlight,       // memory that an asynchronous copy may still be writing
  kReadOnly,
  kDeadlock,
  kDivergence,  // an instruction of the whole warp, or a barrier, that part of a warp reached
  kTrap,        // trap, or a failed assert
  kLaunch,      // what the launch asks for does not fit the kernel
  kEndless,     // more instructions than Options::max_instructions
  kCollective,  // ranks that ask NCCL for different things, or in different orders
  kHost         // what a host thread asked for cannot be
};

/// What a kernel, or the work between kernels, did wrong and where. what() is the whole report.
class DeviceFault : public std::runtime_error {
 public:
  struct Place {
    std::string kernel;               // empty: a fault of no kernel
    std::string instruction, source;  // source "file.cu:12", empty without -lineinfo
    int ptx_line = 0;
    Dim3 thread{0, 0, 0}, block{0, 0, 0};
    bool one_thread = true;  // false: the fault is not of one thread
  };
  DeviceFault(FaultKind fault_kind, Place where, const std::string& message);

  FaultKind kind() const { return kind_; }
  const Place& place() const { return place_; }

 private:
  FaultKind kind_;
  Place place_;
};

}  // namespace annulus::cudasim
