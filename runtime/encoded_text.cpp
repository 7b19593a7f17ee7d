#include "runtime/encoded_text.h"

#include <algorithm>

#include "comm/agree.h"
#include "kernels/cpu/parallel.h"
#include "runtime/shares.h"
#include "runtime/stretches.h"

namespace annulus {
namespace {

constexpr int64_t kBlockBytes = 64 << 10;  // enough of them for all threads to be done at about the same time

// What one thread encodes at a time: whole stretches.
struct Block {
  int64_t begin, end;  // of the text
  std::vector<int32_t> tokens = {};
  std::vector<int64_t> starts = {};  // of the documents that begin in it, as indices of `tokens`
  int64_t stuck_at = -1;             // where the tokenizer has no token
};

class Encoder {
 public:
  Encoder(const TextFile& text, const Tokenizer& tokenizer) : text_(text), tokenizer_(tokenizer) {}

  std::vector<Block> blocks() const {
    const auto size = static_cast<int64_t>(text_.text.size());
    std::vector<Block> all;
    for (int64_t begin = 0, at = 0; at < size;) {
      const int64_t end_of_document = document_end(at);
      while (at < end_of_document && at - begin < kBlockBytes)
        at = static_cast<int64_t>(
            stretch_end(text_.text.substr(0, static_cast<size_t>(end_of_document)), static_cast<size_t>(at)));
      if (at - begin < kBlockBytes && at < size) continue;  // further documents
      all.push_back({begin, at});
      begin = at;
    }
    return all;
  }

  void encode(Block& block) const {
    const auto& starts = text_.document_starts;
    for (int64_t at = block.begin; at < block.end;) {
      if (std::binary_search(starts.begin(), starts.end(), at))
        block.starts.push_back(static_cast<int64_t>(block.tokens.size()));
      const int64_t end = std::min(document_end(at), block.end);
      const auto bytes = static_cast<size_t>(end - at);
      const size_t encoded = tokenizer_.encode(text_.text.substr(static_cast<size_t>(at), bytes), block.tokens);
      at += static_cast<int64_t>(encoded);
      if (encoded == bytes) continue;
      block.stuck_at = at;
      return;
    }
  }

  /// "byte 17 of document 3"
  std::string place(int64_t at) const {
    const auto& starts = text_.document_starts;
    const auto next = std::upper_bound(starts.begin(), starts.end(), at);
    const std::string document = starts.size() > 1 ? concat(" of document ", next - starts.begin()) : "";
    return concat("byte ", at - *(next - 1), document);
  }

 private:
  int64_t document_end(int64_t at) const {
    const auto& starts = text_.document_starts;
    const auto next = std::upper_bound(starts.begin(), starts.end(), at);
    return next == starts.end() ? static_cast<int64_t>(text_.text.size()) : *next;
  }

  const TextFile& text_;
  const Tokenizer& tokenizer_;
};

// Collective: rank r's `mine`, for all ranks one behind the other, on every rank. Messages count bytes in 31 bits.
template <class T>
std::vector<T> concatenated(const std::vector<T>& mine, Group& world, const char* what) {
  constexpr int64_t kMostAtOnce = (int64_t{64} << 20) / sizeof(T);
  const std::vector<int64_t> counts = world.all_gather(static_cast<int64_t>(mine.size()), what);
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  std::vector<T> all(static_cast<size_t>(total));
  int64_t begin = 0;
  for (int rank = 0; rank < world.size(); ++rank) {
    const int64_t count = counts[static_cast<size_t>(rank)];
    if (rank == world.rank()) std::copy(mine.begin(), mine.end(), all.begin() + begin);
    for_pieces({begin, begin + count}, kMostAtOnce, [&](int64_t first, int64_t some) {
      world.broadcast(all.data() + first, some * static_cast<int64_t>(sizeof(T)), rank, what);
    });
    begin += count;
  }
  return all;
}

// Collective: what all ranks have encoded, as one.
template <class Token>
TokenFile gather_tokens(std::vector<Block> blocks, Group& world) {
  std::vector<Token> mine;
  std::vector<int64_t> my_starts;
  for (Block& block : blocks) {
    for (const int64_t start : block.starts) my_starts.push_back(static_cast<int64_t>(mine.size()) + start);
    mine.insert(mine.end(), block.tokens.begin(), block.tokens.end());
    block = {};
  }
  const std::vector<int64_t> counts = world.all_gather(static_cast<int64_t>(mine.size()), "the number of tokens");
  for (int64_t& start : my_starts)
    for (int rank = 0; rank < world.rank(); ++rank) start += counts[static_cast<size_t>(rank)];
  const auto tokens = std::make_shared<const std::vector<Token>>(concatenated(mine, world, "the tokens"));
  std::vector<int64_t> starts = concatenated(my_starts, world, "where documents begin");
  if (starts.empty()) starts.push_back(0);
  return {tokens, tokens->data(), sizeof(Token), static_cast<int64_t>(tokens->size()), std::move(starts), true};
}

}  // namespace

TokenFile encode_text(const TextFile& text, const Tokenizer& tokenizer, const std::string& path, Group& world) {
  const Encoder encoder(text, tokenizer);
  std::vector<Block> blocks = encoder.blocks();
  const Share share = share_of(static_cast<int64_t>(blocks.size()), world.rank(), world.size());
  blocks = {blocks.begin() + share.begin, blocks.begin() + share.end};
  cpu::parallel_for(static_cast<int64_t>(blocks.size()),
                    [&](int64_t block, int) { encoder.encode(blocks[static_cast<size_t>(block)]); });
  agree(world, [&] {
    for (const Block& block : blocks)
      if (block.stuck_at >= 0)
        fail(ExitCode::kData, "data.path: the tokenizer '", tokenizer.name(), "' has no token for what '", path,
             "' has at ", encoder.place(block.stuck_at),
             "; take one that falls back to bytes, as those of annulus tokenizer train do");
  });
  constexpr int64_t kTwoBytes = 65536;
  if (tokenizer.size() <= kTwoBytes) return gather_tokens<uint16_t>(std::move(blocks), world);
  return gather_tokens<int32_t>(std::move(blocks), world);
}

}  // namespace annulus
