#include "comm/group.h"

#include <algorithm>
#include <cstring>

namespace annulus {

std::vector<int> Group::members_of(int colour) {
  const std::vector<int64_t> colours = all_gather(int64_t{colour}, "splitting a group");
  std::vector<int> members;
  for (int peer = 0; peer < size_; ++peer)
    if (colours[static_cast<size_t>(peer)] == colour) members.push_back(peer);
  return members;
}

std::vector<int> Group::to_world(const std::vector<int>& ranks) const {
  std::vector<int> world;
  for (const int rank : ranks) world.push_back(world_rank(rank));
  return world;
}

// Dissemination: after round k a rank has heard, directly or not, from the 2^k ranks before it.
void Group::barrier(const char* what) {
  char token = 0, heard = 0;
  for (int distance = 1; distance < size_; distance *= 2) {
    const Outgoing send = {(rank_ + distance) % size_, &token, 1};
    const Incoming receive = {(rank_ - distance + size_) % size_, &heard, 1};
    exchange({&send, 1}, {&receive, 1}, what);
  }
}

void Group::broadcast(void* data, int64_t bytes, int root, const char* what) {
  if (rank_ != root) {
    const Incoming receive = {root, data, bytes};
    return exchange({}, {&receive, 1}, what);
  }
  std::vector<Outgoing> sends;
  for (int peer = 0; peer < size_; ++peer)
    if (peer != root) sends.push_back({peer, data, bytes});
  exchange(sends, {}, what);
}

std::string Group::broadcast(const std::string& text, int root, const char* what) {
  auto bytes = static_cast<int64_t>(text.size());
  broadcast(&bytes, sizeof bytes, root, what);
  std::string copy = rank_ == root ? text : std::string(static_cast<size_t>(bytes), '\0');
  if (bytes > 0) broadcast(copy.data(), bytes, root, what);
  return copy;
}

void Group::all_gather_bytes(void* all, const void* mine, int64_t bytes, const char* what) {
  auto* slots = static_cast<char*>(all);
  if (bytes == 0) return;
  std::memcpy(slots + rank_ * bytes, mine, static_cast<size_t>(bytes));
  std::vector<Outgoing> sends;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < size_; ++peer) {
    if (peer == rank_) continue;
    sends.push_back({peer, mine, bytes});
    receives.push_back({peer, slots + peer * bytes, bytes});
  }
  exchange(sends, receives, what);
}

std::vector<int64_t> Group::all_gather(int64_t mine, const char* what) {
  std::vector<int64_t> all(static_cast<size_t>(size_));
  all_gather_bytes(all.data(), &mine, sizeof mine, what);
  return all;
}

std::vector<double> Group::all_gather(double mine, const char* what) {
  std::vector<double> all(static_cast<size_t>(size_));
  all_gather_bytes(all.data(), &mine, sizeof mine, what);
  return all;
}

double Group::sum(double mine, const char* what) {
  double total = 0.0;
  for (const double part : all_gather(mine, what)) total += part;
  return total;
}

void Group::sum_in_place(std::span<double> values, const char* what) {
  std::vector<double> all(values.size() * static_cast<size_t>(size_));
  all_gather_bytes(all.data(), values.data(), static_cast<int64_t>(values.size_bytes()), what);
  std::fill(values.begin(), values.end(), 0.0);
  for (size_t i = 0; i < all.size(); ++i) values[i % values.size()] += all[i];
}

int64_t Group::sum(int64_t mine, const char* what) {
  int64_t total = 0;
  for (const int64_t part : all_gather(mine, what)) total += part;
  return total;
}

int64_t Group::max(int64_t mine, const char* what) {
  const std::vector<int64_t> all = all_gather(mine, what);
  return *std::max_element(all.begin(), all.end());
}

std::vector<std::string> Group::gather(const std::string& mine, int root, const char* what) {
  const std::vector<int64_t> sizes = all_gather(static_cast<int64_t>(mine.size()), what);
  if (rank_ != root) {
    const Outgoing send = {root, mine.data(), static_cast<int64_t>(mine.size())};
    exchange({&send, mine.empty() ? size_t{0} : size_t{1}}, {}, what);
    return {};
  }
  std::vector<std::string> texts;
  std::vector<Incoming> receives;
  for (int peer = 0; peer < size_; ++peer) {
    const int64_t bytes = sizes[static_cast<size_t>(peer)];
    texts.push_back(peer == rank_ ? mine : std::string(static_cast<size_t>(bytes), '\0'));
    if (peer != rank_ && bytes > 0) receives.push_back({peer, texts.back().data(), bytes});
  }
  // texts may have moved its strings while it grew: take the pointers again.
  for (Incoming& receive : receives) receive.data = texts[static_cast<size_t>(receive.peer)].data();
  exchange({}, receives, what);
  return texts;
}

}  // namespace annulus
