#!/usr/bin/env bash
# Starts annulus on several ranks of this machine, or of the hosts in a hostfile:
#   launch/run.sh -np 4 -- train configs/quickstart.toml
#   launch/run.sh -np 8 --hostfile hosts -- train configs/quickstart.toml --parallel.cp=8
# Adds what mpirun needs to be told: more ranks than cores only where that is asked for (and it says so), root inside
# containers, and one share of the cores for each rank (cores / ranks threads, at least 1, chosen by annulus itself).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage="usage: launch/run.sh -np N [--hostfile FILE] [mpirun options] -- COMMAND ARGUMENTS (see annulus --help)"
wrong() { echo "run.sh: $1" >&2; exit 64; }

ranks="" hostfile="" options=()
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    -np | -n) ranks=${2:-}; shift 2 || wrong "$usage" ;;
    --hostfile) hostfile=${2:-}; [[ -n $hostfile ]] || wrong "$usage"; options+=(--hostfile "$hostfile"); shift 2 || wrong "$usage" ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) options+=("$1"); shift ;;
  esac
done
[[ $# -gt 1 && $ranks =~ ^[1-9][0-9]*$ ]] || wrong "$usage"
[[ ${#ranks} -le 5 ]] || wrong "-np $ranks is more ranks than annulus takes (dp x cp is at most 65536)"
shift  # the --

program=${ANNULUS:-}  # another build than the ones below
for candidate in "$here/build/release/annulus" "$here/../../bin/annulus"; do
  if [[ -z $program && -f $candidate && -x $candidate ]]; then program=$candidate; fi
done
[[ -n $program ]] || wrong "no annulus found; build it first: cmake --preset release && cmake --build --preset release"
[[ -f $program && -x $program ]] || wrong "ANNULUS=$program is not a program; leave it unset, or give the path of annulus"
command -v mpirun >/dev/null || wrong "no mpirun found; apt-get install openmpi-bin (or launch/setup.sh)"
[[ -z $hostfile || -r $hostfile ]] || wrong "cannot read the hostfile $hostfile; it has a line 'HOST slots=N' for each node"

[[ $(id -u) -ne 0 ]] || options+=(--allow-run-as-root)
cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
if [[ -n $hostfile ]]; then
  options+=(--bind-to none)  # annulus counts the ranks of each node and shares its cores out
else
  if ((ranks > cores)); then
    echo "run.sh: $ranks ranks on $cores cores: they take turns (fine for a try, not for speed)" >&2
    options+=(--oversubscribe --bind-to none --mca mpi_yield_when_idle 1)
  else
    options+=(--map-by "slot:PE=$((cores / ranks))" --bind-to core)
  fi
fi
# --quiet: when a run fails, annulus has said why in one line; mpirun's own paragraphs would bury it. What no rank can say
# is that it was killed.
mpirun --quiet -np "$ranks" "${options[@]}" "$program" "$@" &
mpirun=$! told_to_stop=""
for signal in INT TERM USR1 USR2; do
  # shellcheck disable=SC2064  # expanded now: each handler passes its own signal on
  trap "told_to_stop=yes; kill -$signal $mpirun" "$signal"
done
code=0
wait "$mpirun" || code=$?
while kill -0 "$mpirun" 2>/dev/null; do code=0; wait "$mpirun" || code=$?; done  # a handled signal ends a wait, not mpirun
if ((code > 128)) && [[ -z $told_to_stop ]]; then
  echo "run.sh: a rank was killed by signal $((code - 128)) ($(kill -l $((code - 128)))); for KILL look whether the node ran" \
    "out of memory (dmesg); go on from the last checkpoint with --resume=latest" >&2
  exit 75
fi
exit "$code"
