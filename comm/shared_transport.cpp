#include "comm/shared_transport.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "comm/agree.h"
#include "comm/board_transport.h"
#include "comm/transport_sizes.h"
#include "runtime/core/error.h"
#include "runtime/core/memory.h"

namespace annulus {
namespace {

constexpr int64_t kNoncePage = 4096;  // behind the board

// What rank 0 tells the others.
struct Invitation {
  int64_t process, descriptor;
  unsigned char nonce[16];
};

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

class Mapping : public BoardMemory {
 public:
  Mapping(int fd, int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    data_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  ~Mapping() override {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  bool mapped() const { return data_ != MAP_FAILED; }
  std::byte* data() override { return static_cast<std::byte*>(data_); }

 private:
  void* data_;
  size_t bytes_;
};

// Maps what the invitation names and compares the nonce: nullptr where that is not the memory of rank 0.
std::unique_ptr<Mapping> accept(const Invitation& invitation, int64_t bytes) {
  const std::string path =
      "/proc/" + std::to_string(invitation.process) + "/fd/" + std::to_string(invitation.descriptor);
  const Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat status = {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != bytes)
    return nullptr;
  auto mapping = std::make_unique<Mapping>(fd.get(), bytes);
  if (!mapping->mapped()) return nullptr;
  const bool same = std::memcmp(mapping->data() + bytes - kNoncePage, invitation.nonce, sizeof invitation.nonce) == 0;
  return same ? std::move(mapping) : nullptr;
}

}  // namespace

std::unique_ptr<Transport> make_shared_transport(const TransportSizes& sizes, Group& ring) {
  const std::vector<TransportSizes> all = gather_sizes(sizes, ring);
  const int64_t bytes = board_bytes(all) + kNoncePage;
  const int64_t available = ring.max(ring.rank() == 0 ? available_memory() : 0, "free memory");
  require_alike(ExitCode::kMemory, available >= bytes, "the ring needs ", human_bytes(bytes),
                " of shared memory but this node has ", human_bytes(available),
                " left; use shorter sequences or more nodes");

  const Descriptor fd(ring.rank() == 0 ? memfd_create("annulus-ring", MFD_CLOEXEC) : -1);
  Invitation invitation = {getpid(), fd.get(), {}};
  std::unique_ptr<Mapping> mapping;
  if (ring.rank() == 0 && fd.get() >= 0 && ftruncate(fd.get(), bytes) == 0 &&
      getrandom(invitation.nonce, sizeof invitation.nonce, 0) == sizeof invitation.nonce) {
    mapping = std::make_unique<Mapping>(fd.get(), bytes);
    if (mapping->mapped())
      std::memcpy(mapping->data() + bytes - kNoncePage, invitation.nonce, sizeof invitation.nonce);
    else
      mapping.reset();
  }
  ring.broadcast(&invitation, sizeof invitation, 0, "the invitation to shared memory");
  if (ring.rank() != 0) mapping = accept(invitation, bytes);
  const int64_t mapped = ring.sum(int64_t{mapping != nullptr}, "the mapping of shared memory");
  if (mapped != ring.size()) return nullptr;
  return make_board_transport("shared", std::move(mapping), all, ring);
}

}  // namespace annulus
