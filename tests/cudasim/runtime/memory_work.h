#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "tests/cudasim/runtime/simulation.h"

namespace annulus::cudasim {

/// Rows of bytes, `pitch` bytes apart, of a device or of the host.
struct Plane {
  uint64_t address;
  uint64_t pitch;
};

/// Copies when its turn has come: a source that is overwritten before that gives the new bytes, and a destination that
/// is read before that the old ones.
class CopyWork : public Work {
 public:
  CopyWork(Plane to, Plane from, uint64_t width, uint64_t rows);
  bool step(Simulation& simulation, Stream& stream) override;

 private:
  Plane to_, from_;
  uint64_t width_, rows_;
};

class FillWork : public Work {
 public:
  FillWork(uint64_t to, uint8_t value, uint64_t bytes);
  bool step(Simulation& simulation, Stream& stream) override;

 private:
  uint64_t to_, bytes_;
  uint8_t value_;
};

/// Something that takes no time of its own: an event, a wait, a function of the host, memory that comes or goes.
class Moment : public Work {
 public:
  using Action = std::function<void(Simulation&)>;
  explicit Moment(std::string moment_name, Action action = nullptr)
      : Work(std::move(moment_name)), action_(std::move(action)) {}
  bool step(Simulation& simulation, Stream& stream) override;

 private:
  Action action_;
};

/// Bytes between memories, with what is known of each: bytes that nobody wrote stay so on a device, and are a fault
/// where the host would get them.
void transfer(Simulation& simulation, uint64_t to, uint64_t from, uint64_t bytes);

/// "512 bytes of x"
std::string describe_bytes(const Memory& memory, uint64_t address, uint64_t bytes);

}  // namespace annulus::cudasim
