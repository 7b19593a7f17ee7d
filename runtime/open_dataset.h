#pragma once
// The data of a run, from its file and its tokenizer.
#include <memory>
#include <string>

#include "comm/group.h"
#include "runtime/dataset.h"

namespace annulus {

/// Collective: the same on every rank. `tokenizer` is data.tokenizer, or another place where that model lies. Throws
/// AgreedError: 65 naming file and place where something is wrong with them, or not the same on all ranks; 64 where
/// model.vocab is less than the tokenizer has.
std::unique_ptr<const Dataset> open_dataset(const Config& config, const std::string& tokenizer, Group& world);

}  // namespace annulus
