#pragma once
// A file as memory, read-only.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace annulus {

class MappedFile {
 public:
  /// Throws UserError (65), beginning with `key`, where the file cannot be opened or mapped or is not a regular file.
  MappedFile(const std::string& path, const std::string& key);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace annulus
