#include "comm/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

namespace annulus {
namespace {

constexpr int64_t kNoncePage = 4096;  // behind the memory
constexpr const char* kName = "annulus-ring";

// What a rank tells those that it wants to share memory with.
struct Invitation {
  int64_t process = -1, descriptor = -1;
  std::array<int64_t, 2> nonce = {};
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
  std::byte* nonce() { return data() + static_cast<int64_t>(bytes_) - kNoncePage; }

 private:
  void* data_;
  size_t bytes_;
};

// Memory of this process, and how others find it as long as this lives.
class Host {
 public:
  explicit Host(int64_t bytes) : fd_(memfd_create(kName, MFD_CLOEXEC)) {
    Invitation mine = {getpid(), fd_.get(), {}};
    constexpr ssize_t kNonce = sizeof mine.nonce;
    if (fd_.get() < 0 || ftruncate(fd_.get(), bytes + kNoncePage) != 0) return;
    if (getrandom(mine.nonce.data(), kNonce, 0) != kNonce) return;
    auto mapping = std::make_unique<Mapping>(fd_.get(), bytes + kNoncePage);
    if (!mapping->mapped()) return;
    std::memcpy(mapping->nonce(), mine.nonce.data(), kNonce);
    mapping_ = std::move(mapping);
    invitation_ = mine;
  }
  const Invitation& invitation() const { return invitation_; }
  std::unique_ptr<Mapping> take() { return std::move(mapping_); }

 private:
  Descriptor fd_;
  std::unique_ptr<Mapping> mapping_;
  Invitation invitation_;
};

// Maps what the invitation names: nullptr where that is not the memory of the rank that sent it. The same numbers may
// mean something else here, which is not even opened unless it looks like ours.
std::unique_ptr<Mapping> accept(const Invitation& invitation, int64_t bytes) {
  if (invitation.process < 0) return nullptr;
  const std::string path =
      "/proc/" + std::to_string(invitation.process) + "/fd/" + std::to_string(invitation.descriptor);
  std::error_code problem;
  const std::string target = std::filesystem::read_symlink(path, problem).string();
  if (problem || target.find(kName) == std::string::npos) return nullptr;
  const Descriptor fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  struct stat status = {};
  if (fd.get() < 0 || fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode) || status.st_size != bytes + kNoncePage)
    return nullptr;
  auto mapping = std::make_unique<Mapping>(fd.get(), bytes + kNoncePage);
  if (!mapping->mapped()) return nullptr;
  const bool same = std::memcmp(mapping->nonce(), invitation.nonce.data(), sizeof invitation.nonce) == 0;
  return same ? std::move(mapping) : nullptr;
}

}  // namespace

NodeMap find_nodes(Group& group) {
  const char* what = "the invitations to shared memory";
  const Host host(0);
  const Invitation& mine = host.invitation();
  const std::vector<int64_t> processes = group.all_gather(mine.process, what),
                             descriptors = group.all_gather(mine.descriptor, what),
                             nonces = group.all_gather(mine.nonce[0], what),
                             more_nonces = group.all_gather(mine.nonce[1], what);
  int lowest = 0;
  for (size_t r = 0; lowest < group.rank(); ++lowest, ++r)
    if (accept({processes[r], descriptors[r], {nonces[r], more_nonces[r]}}, 0)) break;
  const std::vector<int64_t> followed = group.all_gather(int64_t{lowest}, "the mapping of shared memory");
  std::vector<int> node_of_rank;
  for (int r = 0; r < group.size(); ++r) {
    const auto leader = static_cast<int>(followed[static_cast<size_t>(r)]);
    node_of_rank.push_back(followed[static_cast<size_t>(leader)] == leader ? leader : r);
  }
  return NodeMap(node_of_rank);
}

std::unique_ptr<BoardMemory> share_memory(int64_t bytes, Group& group) {
  std::unique_ptr<Host> host = group.rank() == 0 ? std::make_unique<Host>(bytes) : nullptr;
  Invitation invitation = host ? host->invitation() : Invitation{};
  group.broadcast(&invitation, sizeof invitation, 0, "the invitation to shared memory");
  std::unique_ptr<Mapping> mapping = host ? host->take() : accept(invitation, bytes);
  const int64_t mapped = group.sum(int64_t{mapping != nullptr}, "the mapping of shared memory");
  return mapped == group.size() ? std::move(mapping) : nullptr;
}

}  // namespace annulus
