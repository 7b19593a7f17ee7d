#pragma once
// What moves in one pass around the ring, as data: a transport executes it, the schedule generators (model/schedule)
// make it. A pass is a forward or backward of one layer; a rank makes `visits` in order, each to the block of one
// owner.
#include <cstdint>
#include <vector>

namespace annulus {

enum class Payload { kKeyValue, kGradient };

/// One message of one rank. Visits are counted from 0; -1 is before the first.
struct Hop {
  Payload payload;
  bool send;
  int peer;    // rank in the ring
  int block;   // whose block, or the gradient of whose block
  int buffer;  // key/value buffer or gradient buffer of this rank that it leaves from or arrives in
  int64_t bytes;
  int starts;  // the visit under which it runs; a send starts when what it carries is there, a receive at once
  int needed;  // receive: the visit that reads the block, or at whose end the gradient is added. send: unused
};

struct PassVisit {
  int block;            // the owner whose keys and values are visited
  int buffer;           // key/value buffer in which a message transport finds them
  int gradient_buffer;  // backward: where this visit writes dK, dV
  bool has_work;        // false: the mask lets nothing through, the visit only passes things on
};

struct PassPlan {
  bool backward = false;
  std::vector<PassVisit> visits;
  std::vector<Hop> hops;
  int readers_of_own = 0;  // visits of other ranks to this rank's block
};

/// Buffers of a pass, whatever the number of ranks: the own block and two that arrive; three gradients (one being
/// computed, one leaving, one arriving).
constexpr int kKeyValueBuffers = 3;
constexpr int kGradientBuffers = 3;

}  // namespace annulus
