#pragma once

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cudasim/ptx/launch.h"

namespace annulus::cudasim {

/// The PTX that nvcc made of kernels/<name>.cu.
inline std::string compiled(const std::string& name) {
  std::ifstream file(std::string(ANNULUS_PTX_DIR) + "/" + name + ".ptx");
  std::ostringstream text;
  text << file.rdbuf();
  if (text.str().empty()) throw std::runtime_error("there is no PTX of " + name);
  return text.str();
}

/// In order, and by chance with one and with several resident blocks.
inline std::vector<Options> schedules(int shuffled = 6) {
  std::vector<Options> all(1);
  using Copies = Options::Copies;
  for (int seed = 1; seed <= shuffled; ++seed) {
    Options options;
    options.seed = static_cast<uint64_t>(seed);
    options.resident_blocks = seed % 2 == 0 ? 1 : 3;
    options.copies = seed % 3 == 0 ? Copies::kLate : seed % 3 == 1 ? Copies::kEarly : Copies::kMixed;
    all.push_back(options);
  }
  return all;
}

}  // namespace annulus::cudasim
