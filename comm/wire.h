#pragma once
// Messages between ranks of a ring that share no memory. Nothing here waits.
#include <cstddef>
#include <memory>

#include "comm/hop.h"

namespace annulus {

/// What carries one hop after the other.
class Transfer {
 public:
  virtual ~Transfer() = default;

  /// Starts to send hop.bytes from `data`, or to receive them there; the hop before must be done. Messages of one
  /// payload from one rank to another arrive in the order in which they were started.
  virtual void start(const Hop& hop, std::byte* data) = 0;
  /// Moves it along; true once it is done, or where none was ever started.
  virtual bool test() = 0;
  /// The other rank of the hop.
  virtual int peer() const = 0;
};

class Wire {
 public:
  virtual ~Wire() = default;
  /// For hops of at most so many bytes: starting one of them allocates nothing.
  virtual std::unique_ptr<Transfer> make_transfer(int64_t largest) = 0;
};

}  // namespace annulus
