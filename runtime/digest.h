#pragma once
// Digests of files and texts.
#include <cstddef>
#include <span>
#include <string>

namespace annulus {

/// XXH3-128 as 32 hexadecimal digits, as `xxhsum -H2` prints it.
std::string digest_of(std::span<const std::byte> bytes);
std::string digest_of(const std::string& text);

}  // namespace annulus
