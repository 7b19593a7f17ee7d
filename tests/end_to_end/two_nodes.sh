#!/usr/bin/env bash
# Runs a command on a head with two nodes, all made of namespaces of this machine:
#   tests/end_to_end/two_nodes.sh [--slots=N,M] COMMAND...
# A node has a network, processes, a host name and a /dev/shm of its own, so that its ranks cannot map memory of the other
# one's; what they share is the file system. Nodes and head are joined by a bridge. The command finds
#   HOSTFILE   a hostfile of both nodes with N and M slots (2 and 2 if not given)
#   AGENT      what Open MPI is to start its daemons with, in place of ssh: AGENT HOST COMMAND; like ssh it passes no
#              variables on
#   NODE1, NODE2  the process ids that hold the nodes; killing one is a node that loses its power
#   MPI_NETWORK   options of mpirun that keep to the bridge, and its files apart from those of other such clusters
# Everything lives in one process namespace and is gone when that ends, however it ends. Exit code: the command's, or 4
# where namespaces may not be made.
set -euo pipefail

if [[ ${1:-} != --inside ]]; then
  for tool in unshare nsenter ip mpirun; do
    command -v "$tool" >/dev/null || { echo "two_nodes.sh: there is no $tool (util-linux, iproute2, openmpi-bin)" >&2; exit 4; }
  done
  new=(unshare --mount --net --pid --fork --kill-child --mount-proc)
  problem=$("${new[@]}" ip link add name probe type bridge 2>&1) ||
    { echo "two_nodes.sh: namespaces with networks may not be made here: $problem" >&2; exit 4; }
  exec "${new[@]}" "$BASH" "${BASH_SOURCE[0]}" --inside "$@"
fi
shift
slots=2,2
[[ ${1:-} != --slots=* ]] || { slots=${1#--slots=}; shift; }
slots_of=([1]="${slots%,*}" [2]="${slots#*,}")

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ip link set lo up
ip link add name bridge type bridge
ip link set bridge up
ip addr add 10.77.0.254/24 dev bridge
export HOSTFILE=$work/hosts AGENT=$work/agent
declare -A pid
for n in 1 2; do
  unshare --mount --net --pid --uts --ipc --fork --kill-child --mount-proc "$BASH" -c "
    hostname node$n && mount -t tmpfs tmpfs /dev/shm && touch '$work/ready$n' && while sleep 1000; do :; done" &
  holder=$!
  until [[ -e $work/ready$n ]]; do kill -0 "$holder"; sleep 0.02; done
  pid[$n]=$(<"/proc/$holder/task/$holder/children")
  pid[$n]=${pid[$n]% }
  ip link add "to-node$n" type veth peer name eth0 netns "${pid[$n]}"
  ip link set "to-node$n" master bridge up
  nsenter --target "${pid[$n]}" --net -- bash -c "ip link set lo up; ip addr add 10.77.0.$n/24 dev eth0; ip link set eth0 up"
  echo "10.77.0.$n slots=${slots_of[$n]}" >>"$HOSTFILE"
done
export NODE1=${pid[1]} NODE2=${pid[2]}
# Open MPI names its files in /tmp by host and process, which two such clusters at a time would have in common.
export MPI_NETWORK="--mca orte_tmpdir_base $work --mca oob_tcp_if_include 10.77.0.0/24 --mca btl self,vader,tcp --mca btl_tcp_if_include 10.77.0.0/24"
cat >"$AGENT" <<EOF
#!/usr/bin/env bash
case \$1 in
  10.77.0.1) node=$NODE1 ;;
  10.77.0.2) node=$NODE2 ;;
  *) echo "no such node: \$1" >&2; exit 1 ;;
esac
shift
exec nsenter --target \$node --mount --net --pid --uts --ipc --wd="\$PWD" -- env -i PATH="\$PATH" HOME="\$HOME" "$BASH" -c "\$*"
EOF
chmod +x "$AGENT"
"$@"
