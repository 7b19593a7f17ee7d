#pragma once
// The zero-copy protocol of ranks that share memory: everybody computes straight from the owner's packed block, and
// nobody writes another rank's memory. shared_transport (processes) and thread_transport (threads) only differ in whose
// memory it is.
#include <memory>
#include <vector>

#include "comm/group.h"
#include "comm/transport.h"

namespace annulus {

/// The memory of all ranks of a ring, mapped by each of them. Zero when made.
class BoardMemory {
 public:
  virtual ~BoardMemory() = default;
  virtual std::byte* data() = 0;
};

/// What one rank with these sizes holds of it.
int64_t board_bytes_of_rank(const TransportSizes& sizes);

/// Bytes of the whole board for a ring in which rank r has sizes[r].
int64_t board_bytes(const std::vector<TransportSizes>& sizes);

/// Passes are numbered. Pass n uses the owner's block slot n mod 2: the owner packs and stores published = n; a reader
/// waits for that and adds 1 to done after its last read; the owner packs pass n + 2 when done has reached the number
/// of remote visits that its plans gave the block. Gradient sums go through three slots per rank: handed counts the
/// sums that a rank has finished, taken those that the next rank has read.
std::unique_ptr<Transport> make_board_transport(const char* name, std::unique_ptr<BoardMemory> memory,
                                                const std::vector<TransportSizes>& sizes, const Group& ring);

}  // namespace annulus
