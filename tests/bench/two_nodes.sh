#!/usr/bin/env bash
# The ring over messages, on two nodes of one rank each whose network is shaped to 1 Gbit/s in each direction:
#   tests/bench/two_nodes.sh [options of annulus bench ring]
# Both nodes are namespaces of this machine (tests/end_to_end/two_nodes.sh; as root), so that a core is left for each rank
# where it has two. RATE=10gbit sets another rate; RATE=none leaves the network as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export RATE=${RATE:-1gbit}
[[ $# -gt 0 ]] || set -- --tokens=512 --tokens=1024 --tokens=2048 --tokens=4096 --tokens=8192

# shellcheck disable=SC2016  # expanded inside
exec tests/end_to_end/two_nodes.sh --slots=1,1 bash -c '
  set -euo pipefail
  for node in "$NODE1" "$NODE2"; do  # what leaves a node
    [[ $RATE == none ]] || nsenter --target "$node" --net -- tc qdisc add dev eth0 root tbf rate "$RATE" burst 128kb latency 50ms
  done
  echo "network between the nodes: $RATE"
  # shellcheck disable=SC2086  # several words
  exec launch/run.sh -np 2 --hostfile "$HOSTFILE" --mca plm rsh --mca plm_rsh_agent "$AGENT" $MPI_NETWORK \
    -- bench ring --transport=mpi "$@"' two_nodes "$@"
