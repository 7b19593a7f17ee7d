#pragma once
// runs/NAME/: one run at a time may write there, and all of its ranks must see it.
#include <string>
#include <vector>

#include "comm/group.h"
#include "runtime/config.h"
#include "runtime/new_file.h"

namespace annulus {

/// The copy of the SentencePiece model in a run's directory: a run and its samples need no other.
constexpr const char* kTokenizerName = "tokenizer.model";

class RunDirectory {
 public:
  enum class Mode { kNew, kResume };

  /// Collective. Makes the directory (kNew: it must not exist; kResume: it may), locks it for the life of this object
  /// and checks with a nonce file that every rank sees it. Throws UserError on every rank: 64 where it exists already
  /// (both ways out are named), 77 where another run holds the lock, 73 where it cannot be made or is not shared.
  RunDirectory(const RunConfig& config, Mode mode, Group& world);

  const std::string& path() const { return hold_.path; }

  /// The run has begun. Without it, directories that this object has made are removed again at the end.
  void keep() {
    hold_.made = false;
    hold_.made_above.clear();
  }

 private:
  // What the end of this object undoes, also of one that was never finished.
  struct Hold {
    explicit Hold(std::string directory) : path(std::move(directory)) {}
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    std::string path;
    int lock = -1;                        // on rank 0
    bool made = false;                    // on rank 0: by this object, and nothing is in it yet
    std::vector<std::string> made_above;  // those it lies in, likewise, the deepest first
  };

  void open_on_rank_0(Mode mode);

  Hold hold_;
};

}  // namespace annulus
