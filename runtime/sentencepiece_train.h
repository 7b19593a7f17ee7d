#pragma once
// Makes a SentencePiece model from a text.
#include <cstdint>
#include <string>

#include "runtime/text_file.h"

namespace annulus {

/// What is in the file of a model with `vocab` tokens, learnt from all documents of `text`; the same bytes for the same
/// text. `type`: "bpe" or "unigram". It leaves text as it is and has a token for every byte, so that every text can be
/// encoded; no line end, tab or other control character is part of a longer token. Throws UserError: 64 where the text
/// does not have so many pieces, or more characters than so many tokens; 65 where there is nothing to learn from.
std::string train_sentencepiece(const TextFile& text, int64_t vocab, const std::string& type);

}  // namespace annulus
