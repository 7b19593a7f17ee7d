#!/usr/bin/env bash
# Starts annulus on several ranks of this machine, or of other hosts:
#   launch/run.sh -np 4 -- train configs/quickstart.toml
#   launch/run.sh -np 8 --hostfile hosts -- train configs/quickstart.toml --parallel.cp=8
#   launch/run.sh -np 8 --host node1:4,node2:4 -- train configs/quickstart.toml --parallel.cp=8
# Adds what mpirun needs to be told: more ranks than cores only where that is asked for (and it says so), root inside
# containers, and one share of the cores for each rank (cores / ranks threads, at least 1, chosen by annulus itself, on
# every host from that host's own cores).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage="usage: launch/run.sh -np N [--hostfile FILE | --host HOST:SLOTS,...] [mpirun options] -- COMMAND ARGUMENTS (see annulus --help)"
wrong() { echo "run.sh: $1" >&2; exit 64; }

ranks="" hostfile="" hosts="" options=()
while [[ $# -gt 0 && $1 != -- ]]; do
  case $1 in
    -np | -n) ranks=${2:-}; shift 2 || wrong "$usage" ;;
    --hostfile | -hostfile | --machinefile | -machinefile)
      hostfile=${2:-}; [[ -n $hostfile && $hostfile != -- ]] || wrong "$usage"; options+=(--hostfile "$hostfile"); shift 2 ;;
    --host | -host | -H)
      hosts=${2:-}; [[ -n $hosts && $hosts != -- ]] || wrong "$usage"; options+=(--host "$hosts"); shift 2 ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) options+=("$1"); shift ;;
  esac
done
[[ $# -gt 1 && $ranks =~ ^[1-9][0-9]*$ ]] || wrong "$usage"
[[ ${#ranks} -le 5 ]] || wrong "-np $ranks is more ranks than annulus takes (dp x cp is at most 65536)"
[[ -z $hostfile || -z $hosts ]] || wrong "--hostfile and --host both say where the ranks go; leave out one of the two"
shift  # the --

program=${ANNULUS:-}  # another build than the ones below
for candidate in "$here/build/release/annulus" "$here/../../bin/annulus"; do
  if [[ -z $program && -f $candidate && -x $candidate ]]; then program=$candidate; fi
done
[[ -n $program ]] || wrong "no annulus found; build it first: cmake --preset release && cmake --build --preset release"
[[ -f $program && -x $program ]] || wrong "ANNULUS=$program is not a program; leave it unset, or give the path of annulus"
command -v mpirun >/dev/null || wrong "no mpirun found; apt-get install openmpi-bin (or launch/setup.sh)"

# The slots of a hostfile, which has a line 'HOST slots=N' for each node and comments behind a #.
slots_of_file() {
  local line words word total=0 number=0 slots
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1)) slots=""
    read -ra words <<<"${line%%#*}"
    [[ ${#words[@]} -gt 0 ]] || continue
    [[ ${words[0]} =~ ^[A-Za-z0-9._:@-]+$ ]] || wrong "$1:$number: '${words[0]}' is no name of a host; write a line 'HOST slots=N' for each node"
    for word in "${words[@]:1}"; do
      case $word in
        slots=*) slots=${word#slots=} ;;
        max_slots=* | max-slots=*) ;;
        *) wrong "$1:$number: '$word' is nothing that a hostfile knows; write a line 'HOST slots=N' for each node" ;;
      esac
    done
    [[ $slots =~ ^[1-9][0-9]{0,4}$ ]] || wrong "$1:$number: ${words[0]} has slots='$slots'; write slots=N, how many ranks it takes"
    total=$((total + slots))
  done <"$1"
  [[ $total -gt 0 ]] || wrong "the hostfile $1 names no host; write a line 'HOST slots=N' for each node"
  echo "$total"
}

slots_of_list() {
  local entry total=0
  for entry in ${1//,/ }; do
    [[ $entry =~ ^[A-Za-z0-9._@-]+(:([1-9][0-9]{0,4}))?$ ]] || wrong "--host $1: '$entry' is not HOST or HOST:SLOTS"
    total=$((total + ${BASH_REMATCH[2]:-1}))
  done
  [[ $total -gt 0 ]] || wrong "--host $1 names no host"
  echo "$total"
}

[[ $(id -u) -ne 0 ]] || options+=(--allow-run-as-root)
where=${hostfile:-$hosts}
if [[ -n $where ]]; then
  [[ -z $hostfile || (-f $hostfile && -r $hostfile) ]] || wrong "cannot read the hostfile $hostfile; it has a line 'HOST slots=N' for each node"
  if [[ -n $hostfile ]]; then slots=$(slots_of_file "$hostfile"); else slots=$(slots_of_list "$hosts"); fi
  ((ranks <= slots)) || wrong "-np $ranks, but $where has $slots slots; start fewer ranks, or give its hosts more slots"
  options+=(--leave-session-attached --bind-to none)  # annulus counts the ranks of each node and shares its cores out
  # ssh passes no variables on; these change how threads wait and where libraries are found.
  for name in $(compgen -e); do
    case $name in OMP_* | GOMP_* | LD_LIBRARY_PATH) options+=(-x "$name") ;; esac
  done
else
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)
  if ((ranks > cores)); then
    echo "run.sh: $ranks ranks on $cores cores: they take turns (fine for a try, not for speed)" >&2
    options+=(--oversubscribe --bind-to none --mca mpi_yield_when_idle 1)
  else
    options+=(--map-by "slot:PE=$((cores / ranks))" --bind-to core)
  fi
fi

# --quiet: when a run fails, annulus has said why in one line; mpirun's own paragraphs would bury it. What no rank can say
# is said below: that it was killed, or never started.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkfifo "$work/errors"
mpirun --quiet -np "$ranks" "${options[@]}" "$program" "$@" 2>"$work/errors" &
mpirun=$! told_to_stop=""

# Passes on what the ranks say, and looks after mpirun, which waits for ever for the daemon of a node that does not answer
# any more: when a rank has ended the job because of an error, and when all its children are gone (the ranks here, and the
# ssh sessions to other hosts, which --leave-session-attached keeps for as long as the run lasts).
pass_errors_on() {
  local line="" part="" status children had_children="" ending=""
  trap '' INT TERM USR1 USR2  # it stays until mpirun has gone
  for ((;;)); do
    status=0
    IFS= read -r -t 1 part || status=$?
    line+=$part
    if ((status <= 128)); then
      if ((status == 0)) || [[ -n $line ]]; then printf '%s\n' "$line" >&2; fi
      [[ $line != annulus:* || $line == "annulus: warning:"* ]] || : >"$work/annulus-spoke"
      [[ $line != "annulus: rank "* ]] || ending=${ending:-$SECONDS}
      line=""
      ((status == 0)) || return 0
    fi
    children=$(cat "/proc/$mpirun/task/"*/children 2>/dev/null) || true
    if [[ -n $children ]]; then had_children=yes; elif [[ -n $had_children ]]; then ending=${ending:-$SECONDS}; fi
    if [[ -n $ending ]] && ((SECONDS - ending > 10)); then
      : >"$work/gave-up"
      # shellcheck disable=SC2086  # several numbers
      kill -KILL $children "$mpirun" 2>/dev/null || true
      return 0
    fi
  done
}
for signal in INT TERM USR1 USR2; do
  # shellcheck disable=SC2064  # expanded now: each handler passes its own signal on
  trap "told_to_stop=yes; kill -$signal $mpirun" "$signal"
done
pass_errors_on <"$work/errors" &
reader=$!
code=0
wait "$mpirun" 2>/dev/null || code=$?
while kill -0 "$mpirun" 2>/dev/null; do code=0; wait "$mpirun" || code=$?; done  # a handled signal ends a wait, not mpirun
wait "$reader" || true

[[ -z $told_to_stop ]] || exit "$code"
[[ ! -e $work/gave-up || ! -e $work/annulus-spoke ]] || exit 75
again="go on from the last checkpoint with --resume=latest"
signal=$(kill -l $((code > 128 ? code - 128 : 0)) 2>/dev/null) || signal=""
if [[ -e $work/gave-up ]] || ((code == 205)); then  # what Open MPI calls ORTE_ERR_COMM_FAILURE
  echo "run.sh: the connection to a node was lost: it is down, or its network is; $again" >&2
  exit 75
elif [[ -n $where && ! -e $work/annulus-spoke ]] && ((code == 1 || code == 132 || code == 255)); then
  echo "run.sh: mpirun could not start the ranks; from here 'ssh HOST $program --version' must work, without a password, for" \
    "every host in $where (the same Open MPI, and the same files at the same paths)" >&2
  exit 64
elif ((code > 128)) && [[ -n $signal ]]; then
  echo "run.sh: a rank was killed by signal $((code - 128)) ($signal); for KILL look whether the node ran" \
    "out of memory (dmesg); $again" >&2
  exit 75
fi
exit "$code"
