#!/usr/bin/env bash
# Installs what is missing, builds with assertions, and runs every test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

launch/setup.sh --tests
cmake --preset dev >/dev/null
cmake --build --preset dev
ctest --preset dev "$@"
