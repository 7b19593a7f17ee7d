#include <fmt/format.h>

#include "tests/cudasim/runtime/communicator.h"

namespace annulus::cudasim {

int EnqueueOrder::find(int node) const {
  while (parent_[static_cast<size_t>(node)] != node) node = parent_[static_cast<size_t>(node)];
  return node;
}

int EnqueueOrder::node_of(const Key& key) {
  const auto [found, fresh] = nodes_.try_emplace(key, static_cast<int>(parent_.size()));
  if (fresh) {
    parent_.push_back(found->second);
    next_.emplace_back();
    names_.emplace_back();
  }
  return find(found->second);
}

bool EnqueueOrder::reaches(int from, int to) const {
  std::vector<bool> seen(parent_.size());
  std::vector<int> open{find(from)};
  while (!open.empty()) {
    const int node = open.back();
    open.pop_back();
    if (node == find(to)) return true;
    if (seen[static_cast<size_t>(node)]) continue;
    seen[static_cast<size_t>(node)] = true;
    for (const int next : next_[static_cast<size_t>(node)]) open.push_back(find(next));
  }
  return false;
}

std::string EnqueueOrder::add(int host, uint64_t communicator, const std::vector<Key>& keys, const std::string& name) {
  int node = node_of(keys.front());
  for (const Key& key : keys) {
    const int other = node_of(key);
    if (other == node) continue;
    parent_[static_cast<size_t>(other)] = node;
    const std::vector<int> edges = next_[static_cast<size_t>(other)];
    next_[static_cast<size_t>(node)].insert(next_[static_cast<size_t>(node)].end(), edges.begin(), edges.end());
  }
  names_[static_cast<size_t>(node)] = name;
  for (const auto& [other, last] : last_[host]) {
    if (other == communicator || find(last) == node) continue;
    if (reaches(node, last))
      return fmt::format(
          "rank {} enqueues '{}' before '{}', another rank after it: all ranks must enqueue the work of several "
          "communicators in one order, or they may wait for one another for ever",
          host, names_[static_cast<size_t>(find(last))], name);
    next_[static_cast<size_t>(find(last))].push_back(node);
  }
  last_[host][communicator] = node;
  return "";
}

}  // namespace annulus::cudasim
