#pragma once
// What somebody meant by a name that does not exist.
#include <string>
#include <string_view>
#include <vector>

namespace annulus {

/// The fewest letters to insert, delete, replace or swap with their neighbour that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b);

/// The first of `names` that `name` most likely stands for: it begins with `name` (3 letters or more), or at most a
/// third of the letters differ. Empty where none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& names);

}  // namespace annulus
