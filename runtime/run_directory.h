#pragma once
// runs/NAME/: one run at a time may write there, and all of its ranks must see it.
#include <string>

#include "comm/group.h"
#include "runtime/config.h"

namespace annulus {

class RunDirectory {
 public:
  enum class Mode { kNew, kResume };

  /// Collective. Makes the directory (kNew: it must not exist; kResume: it may), locks it for the life of this object
  /// and checks with a nonce file that every rank sees it. Throws UserError on every rank: 64 where it exists already
  /// (both ways out are named), 77 where another run holds the lock, 73 where it cannot be made or is not shared.
  RunDirectory(const RunConfig& config, Mode mode, Group& world);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;

  const std::string& path() const { return path_; }

  /// The run has begun. Without it, a directory that this object has made is removed again at the end.
  void keep() { made_ = false; }

 private:
  void open_on_rank_0(Mode mode);

  std::string path_;
  int lock_ = -1;      // on rank 0
  bool made_ = false;  // on rank 0: by this object, and nothing is in it yet
};

/// Writes `text` to `path` by way of a temporary file: readers see the old file or the new one, whole. Throws UserError
/// (73).
void write_file(const std::string& path, const std::string& text);

}  // namespace annulus
