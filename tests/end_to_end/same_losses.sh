#!/usr/bin/env bash
# A refactor leaves every loss digit: builds the parent commit and this one, trains each for 20 steps on this machine, and
# compares the losses to 17 digits.
#   tests/end_to_end/same_losses.sh [PARENT]      PARENT defaults to HEAD~1
# A commit that means to change results (another summation order, another initialisation) says so in its message with a
# line "Changes-losses: why"; then the script prints the reason and passes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
parent=${1:-HEAD~1}

if ! git rev-parse --quiet --verify "$parent^{commit}" >/dev/null; then
  echo "same_losses: there is no $parent to compare with"
  exit 0
fi
if reason=$(git log --format=%B "$parent..HEAD" | grep -i '^Changes-losses:'); then
  echo "same_losses: not compared with $parent. $reason"
  exit 0
fi

work=$(mktemp -d)
trap 'git worktree remove --force "$work/parent" 2>/dev/null || true; rm -rf "$work"' EXIT

# The text has structure, so that the losses move.
for i in $(seq 1 400); do printf 'the %d rings of %d ranks turn; ' $((i % 7)) $((i % 5)); done >"$work/text.txt"
cat >"$work/run.toml" <<TOML
[run]
directory = "$work/runs"
[model]
layers = 2
width = 32
heads = 4
kv_heads = 2
[data]
path = "$work/text.txt"
sequence_length = 93
global_batch = 3
[parallel]
cp = 3
in_process_ranks = 3
[train]
steps = 20
learning_rate = 1e-2
warmup_steps = 2
TOML

losses() {  # losses PROGRAM NAME
  "$1" train "$work/run.toml" --run.name="$2" >/dev/null
  sed -n 's/.*"loss": \([^,]*\), "grad_norm": \([^,]*\),.*/\1 \2/p' "$work/runs/$2/metrics.jsonl"
}

git worktree add --quiet --detach "$work/parent" "$parent"
cmake -S "$work/parent" --preset release -B "$work/parent/build" >/dev/null
cmake --build "$work/parent/build" --target annulus >/dev/null
cmake --preset release >/dev/null
cmake --build --preset release --target annulus >/dev/null

losses "$work/parent/build/annulus" parent >"$work/parent.txt"
losses build/release/annulus this >"$work/this.txt"
if [[ $(wc -l <"$work/this.txt") -ne 20 ]]; then
  echo "same_losses: expected 20 losses, found $(wc -l <"$work/this.txt")" >&2
  exit 1
fi
if ! diff "$work/parent.txt" "$work/this.txt"; then
  echo "same_losses: the losses (and gradient norms) of $parent, above, and of this tree differ" >&2
  exit 1
fi
echo "same_losses: $(wc -l <"$work/this.txt") losses and gradient norms equal those of $parent to 17 digits"
