#pragma once
// A file that appears whole or not at all: it is written under a temporary name beside its own, synced, and renamed.
#include <string>
#include <string_view>

namespace annulus {

/// Every call throws UserError (73) where the file cannot be written; what was there before is then still there.
class NewFile {
 public:
  explicit NewFile(const std::string& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void append(std::string_view text);
  void commit();

 private:
  void check(bool ok) const;

  std::string path_, temporary_;
  int file_ = -1;
  bool committed_ = false;
};

/// A file whose whole text is at hand. Throws UserError (73).
void write_file(const std::string& path, const std::string& text);

}  // namespace annulus
