#!/usr/bin/env bash
# The in-process tests under the address, undefined-behaviour and thread sanitizers:
#   tests/sanitizers.sh [asan|tsan] [TEST ...]      both, and all of them, unless said otherwise
# Takes about half an hour on two cores, building included, so it is no part of CI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

presets=(asan tsan)
if [[ ${1:-} == asan || ${1:-} == tsan ]]; then presets=("$1"); shift; fi
tests=("$@")
((${#tests[@]} > 0)) || tests=(oracle_test kernels_test model_test comm_test runtime_test report_test checkpoint_test cudasim_test)

# libgomp synchronises its threads by futexes that the thread sanitizer does not see, so every parallel loop of a team of
# several would look like a race. Teams of one need no suppressions, which would hide races of ours
# too. Ranks are threads all the same, and what they share is looked at; what threads of one team share is not. Addresses
# are not randomised (setarch -R): this compiler's thread sanitizer cannot work with some of the random layouts.
run_tsan() { OMP_NUM_THREADS=1 OMP_THREAD_LIMIT=1 TSAN_OPTIONS=halt_on_error=1 setarch -R "$1" --gtest_brief=1; }

run_asan() { UBSAN_OPTIONS=print_stacktrace=1 OMP_WAIT_POLICY=passive "$1" --gtest_brief=1; }

for preset in "${presets[@]}"; do
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" --target "${tests[@]}"
  for test in "${tests[@]}"; do
    echo "== $preset: $test"
    "run_$preset" "$(find "build/$preset/tests" -name "$test" -type f)"
  done
done
echo "sanitizers.sh: nothing found by ${presets[*]} in ${tests[*]}"
