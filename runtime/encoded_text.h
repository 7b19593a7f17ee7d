#pragma once
// The text of a run as tokens, made at start by all ranks together.
#include <string>

#include "comm/group.h"
#include "runtime/text_file.h"
#include "runtime/token_file.h"
#include "runtime/tokenizer.h"

namespace annulus {

/// Collective. Every rank, with all its threads, encodes a part of `text` (the same on all ranks) and gets the rest
/// from the others: each holds all tokens, in 2 bytes where the vocabulary has at most 65536 of them and else in 4.
/// They are the same for every number of ranks and threads. Each document is encoded by itself. Throws AgreedError (65)
/// naming `path` and the first place for which the tokenizer has no token.
TokenFile encode_text(const TextFile& text, const Tokenizer& tokenizer, const std::string& path, Group& world);

}  // namespace annulus
