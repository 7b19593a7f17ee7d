#pragma once
// How the world is cut: world = dp x cp, cp fastest, so that a ring stays inside a node when it can.

namespace annulus {

struct ParallelDims {
  int dp = 1, cp = 1;  // rings, and ranks of one ring

  int replica_of(int world_rank) const { return world_rank / cp; }  // which ring: the colour that splits the world
  int ring_rank_of(int world_rank) const { return world_rank % cp; }
};

}  // namespace annulus
