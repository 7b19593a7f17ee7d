#include "comm/thread_transport.h"

#include <sys/mman.h>

#include "comm/board_transport.h"
#include "comm/transport_sizes.h"
#include "runtime/core/error.h"

namespace annulus {
namespace {

// Pages of this process, kept until the last rank has let go.
struct Pages {
  explicit Pages(int64_t n) : bytes(static_cast<size_t>(n)) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    require(ExitCode::kMemory, memory != MAP_FAILED, "no memory for the ring's buffers: ", n, " bytes");
    data = static_cast<std::byte*>(memory);
  }
  ~Pages() { munmap(data, bytes); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  size_t bytes;
  std::byte* data = nullptr;
};

class SharedPages : public BoardMemory {
 public:
  explicit SharedPages(std::shared_ptr<Pages> pages) : pages_(std::move(pages)) {}
  std::byte* data() override { return pages_->data; }

 private:
  std::shared_ptr<Pages> pages_;
};

}  // namespace

std::unique_ptr<BoardMemory> share_pages(int64_t bytes, Group& threads) {
  // Rank 0 maps the pages; the others copy its pointer while rank 0 keeps it alive.
  const std::shared_ptr<Pages> made = threads.rank() == 0 ? std::make_shared<Pages>(bytes) : nullptr;
  auto address = static_cast<int64_t>(reinterpret_cast<intptr_t>(&made));
  threads.broadcast(&address, sizeof address, 0, "the address of the ring's buffers");
  const std::shared_ptr<Pages> pages = *reinterpret_cast<const std::shared_ptr<Pages>*>(static_cast<intptr_t>(address));
  threads.barrier("the ring's buffers");
  return std::make_unique<SharedPages>(pages);
}

std::unique_ptr<Transport> make_thread_transport(const TransportSizes& sizes, Group& ring) {
  const std::vector<TransportSizes> all = gather_sizes(sizes, ring);
  return make_board_transport("in-process", share_pages(board_bytes(all), ring), all, ring);
}

}  // namespace annulus
