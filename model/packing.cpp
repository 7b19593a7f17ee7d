#include "model/packing.h"

#include <algorithm>
#include <numeric>

#include "runtime/core/error.h"

namespace annulus {
namespace {

constexpr int64_t kLeastChunk = 128;  // tokens of a zigzag chunk: shorter ones leave the kernels' blocks half empty
constexpr int64_t kLeastPiece = 64;   // tokens of a piece that is cut off for balance
constexpr double kBalanced = 1.01;    // work of the busiest rank over the mean

// Of rows [begin, end) of a causal document.
double causal_pairs(int64_t begin, int64_t end) {
  return 0.5 * static_cast<double>(end - begin) * static_cast<double>(begin + end + 1);
}

class Packer {
 public:
  Packer(const std::vector<int64_t>& lengths, int num_ranks, const PackingCosts& costs)
      : lengths_(lengths),
        ranks_(num_ranks),
        costs_(costs),
        most_(most_tokens_of_a_rank(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}), num_ranks)),
        begin_(lengths.size(), 0),
        segments_(static_cast<size_t>(num_ranks)),
        tokens_(static_cast<size_t>(num_ranks), 0),
        work_(static_cast<size_t>(num_ranks), 0.0),
        whole_(static_cast<size_t>(num_ranks)) {}

  PackedRow pack() {
    std::vector<size_t> shorter;
    for (size_t i = 0; i < lengths_.size(); ++i)
      if (ranks_ > 1 && lengths_[i] >= 2 * ranks_ * kLeastChunk)
        cut_in_zigzag(i);
      else
        shorter.push_back(i);
    std::stable_sort(shorter.begin(), shorter.end(), [&](size_t a, size_t b) { return lengths_[a] > lengths_[b]; });
    for (const size_t i : shorter)
      if (!give_whole(i)) spread(i);
    for (int r = 0; r < ranks_ && spread_for_balance(); ++r) {
    }
    for (size_t r = 0; r < whole_.size(); ++r) lay_together(r);
    Mask mask;
    for (size_t i = 0; i < lengths_.size(); ++i) {
      const int64_t first = begin_[i], end = first + lengths_[i];
      mask.push_back({first, end, first, end, 0, kUnbounded});
    }
    return {std::move(begin_), Placement(std::move(segments_)), std::move(mask)};
  }

 private:
  // `sign` -1 takes the rows back.
  void account(size_t rank, int64_t first, int64_t count, int sign = 1) {
    tokens_[rank] += sign * count;
    work_[rank] +=
        sign * (costs_.token * static_cast<double>(count) + costs_.pair * causal_pairs(first, first + count));
  }

  // Rows [first, first + count) of a document go to a rank.
  void cut(size_t document, int64_t first, int64_t count, size_t rank) {
    account(rank, first, count);
    segments_[rank].push_back({begin_[document] + first, count, 1});
  }

  void lay(size_t document) {
    begin_[document] = next_;
    next_ += lengths_[document];
  }

  void cut_in_zigzag(size_t document) {
    lay(document);
    const Placement zigzag = zigzag_placement(lengths_[document], ranks_);
    for (int r = 0; r < ranks_; ++r)
      for (const Segment& chunk : zigzag.segments(r)) cut(document, chunk.begin, chunk.count, static_cast<size_t>(r));
  }

  bool give_whole(size_t document) {
    int found = -1;
    for (int r = 0; r < ranks_; ++r)
      if (room(r) >= lengths_[document] && (found < 0 || work(r) < work(found))) found = r;
    if (found < 0) return false;
    whole_[static_cast<size_t>(found)].push_back(document);
    account(static_cast<size_t>(found), 0, lengths_[document]);
    return true;
  }

  // Where the longest document that the busiest rank holds whole makes it too busy, it is spread. False where that is
  // not needed or not possible.
  bool spread_for_balance() {
    const auto busiest = static_cast<size_t>(std::max_element(work_.begin(), work_.end()) - work_.begin());
    std::vector<size_t>& documents = whole_[busiest];  // longest first, as they were given
    if (work_[busiest] <= kBalanced * mean_work() || documents.empty()) return false;
    const size_t document = documents.front();
    if (lengths_[document] < 2 * kLeastPiece) return false;
    documents.erase(documents.begin());
    account(busiest, 0, lengths_[document], -1);
    spread(document);
    return true;
  }

  // Pieces of a document go to whoever has least work and has room, as much as brings that rank up to the mean.
  void spread(size_t document) {
    lay(document);
    const int64_t length = lengths_[document];
    const double cost = costs_.token + 0.5 * costs_.pair * static_cast<double>(length);  // of its tokens, about
    const double aim = mean_work() + cost * static_cast<double>(length) / ranks_;
    for (int64_t first = 0; first < length;) {
      int idlest = -1;
      for (int r = 0; r < ranks_; ++r)
        if (room(r) > 0 && (idlest < 0 || work(r) < work(idlest))) idlest = r;
      invariant(idlest >= 0, "no rank has room for a document");
      const int64_t wanted = std::max(kLeastPiece, static_cast<int64_t>((aim - work(idlest)) / cost));
      const int64_t left = length - first, count = std::min(left - wanted < kLeastPiece ? left : wanted, room(idlest));
      cut(document, first, count, static_cast<size_t>(idlest));
      first += count;
    }
  }

  double work(int rank) const { return work_[static_cast<size_t>(rank)]; }
  double mean_work() const { return std::accumulate(work_.begin(), work_.end(), 0.0) / ranks_; }
  int64_t room(int rank) const { return most_ - tokens_[static_cast<size_t>(rank)]; }

  void lay_together(size_t rank) {
    const int64_t first = next_;
    for (const size_t document : whole_[rank]) lay(document);
    if (next_ > first) segments_[rank].push_back({first, next_ - first, 1});
  }

  const std::vector<int64_t>& lengths_;
  int ranks_;
  PackingCosts costs_;
  int64_t most_, next_ = 0;  // of any rank; the end of the row so far
  std::vector<int64_t> begin_;
  std::vector<std::vector<Segment>> segments_;
  std::vector<int64_t> tokens_;
  std::vector<double> work_;
  std::vector<std::vector<size_t>> whole_;  // documents that a rank holds all of
};

}  // namespace

int64_t most_tokens_of_a_rank(int64_t num_tokens, int num_ranks) {
  return num_tokens * 105 / (int64_t{100} * num_ranks) + 128;
}

PackedRow pack_documents(const std::vector<int64_t>& lengths, std::string_view placement, int num_ranks,
                         const PackingCosts& costs) {
  if (placement == "zigzag") return Packer(lengths, num_ranks, costs).pack();
  PackedRow row = {
      {}, make_placement(placement, std::accumulate(lengths.begin(), lengths.end(), int64_t{0}), num_ranks), {}};
  int64_t next = 0;
  for (const int64_t length : lengths) {
    row.begin.push_back(next);
    row.mask.push_back({next, next + length, next, next + length, 0, kUnbounded});
    next += length;
  }
  return row;
}

// A rank's segments are chunks and pieces of at least kLeastPiece tokens, one that holds whole documents, and at most
// one piece that filled it or one left over for each of the documents that were spread. A segment just above a multiple
// of the block wastes most.
Placement largest_packed_placement(int64_t num_tokens, int num_ranks, int64_t rows_per_block) {
  const int64_t most = most_tokens_of_a_rank(num_tokens, num_ranks), pieces = num_ranks + 3;
  const int64_t chunk = std::max(kLeastPiece, rows_per_block) + 1;
  std::vector<std::vector<Segment>> ranks(static_cast<size_t>(num_ranks));
  int64_t next = 0;
  for (auto& segments : ranks) {
    for (int64_t left = most; left > 0; left -= chunk) {
      segments.push_back({next, std::min(left, chunk), 1});
      next += segments.back().count;
    }
    for (int64_t piece = 0; piece < pieces; ++piece) segments.push_back({next++, 1, 1});
  }
  return Placement(std::move(ranks));
}

}  // namespace annulus
