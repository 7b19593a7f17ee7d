#!/usr/bin/env bash
# Installs what annulus needs to build and run on Debian 12, and with --tests what its tests need as well. Does nothing
# where everything is there. Without root, or on another system, it says what to install and stops.
set -euo pipefail
[[ $# -eq 0 || $* == --tests ]] || { echo "usage: launch/setup.sh [--tests]" >&2; exit 64; }

# One list: package, and what it is for.
packages=(
  g++              # compiles annulus (C++20) and brings OpenMP, the thread pool
  cmake            # configures the build
  ninja-build      # runs the build
  git              # the commit in --version
  libopenmpi-dev   # ranks as processes: headers
  openmpi-bin      # ranks as processes: mpirun
  libhdf5-dev      # checkpoints, tensors from files
  libxxhash-dev    # digests of checkpoint files
  libsentencepiece-dev  # tokenizers: trains and runs them
  libtomlplusplus-dev  # config files
  nlohmann-json3-dev   # metrics, benchmark rows
  libcli11-dev     # the command line
  libfmt-dev       # text formatting
  bible-kjv        # the text of the quickstart: one document of 4.3 million bytes
  libgtest-dev     # tests: GoogleTest
  python3-h5py     # docs/attention_in_numpy.py; tests: somebody else's reader of our files
)
[[ $# -eq 0 ]] || packages+=(
  hdf5-tools       # and h5ls, another
  clang-format     # the style check
)
# Tests that want more of a machine say so and are skipped where they cannot have it.
optional=()
[[ $# -eq 0 ]] || optional+=(
  slurm-wlm        # a Slurm of two nodes on this machine, started by the test; Debian starts none without a slurm.conf
  munge            # by which Slurm's parts know each other (Debian starts its service)
  util-linux       # two nodes made of namespaces
  iproute2         # and the network between them
)

not_installed() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) == "install ok installed" ]] || echo "$package"
  done
}
mapfile -t missing < <(not_installed "${packages[@]}")
mapfile -t wanted < <(not_installed "${optional[@]}")
[[ $((${#missing[@]} + ${#wanted[@]})) -gt 0 ]] || exit 0

system=$(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}") || true
if [[ $system != debian-12 || $(id -u) -ne 0 ]]; then
  if [[ ${#missing[@]} -eq 0 ]]; then
    echo "setup: without ${wanted[*]}, which this script cannot install here, some tests are skipped" >&2
    exit 0
  fi
  echo "setup: annulus needs these Debian packages, and this script cannot install them here:" >&2
  echo "  ${missing[*]}" >&2
  echo "Install them as root (Debian 12: apt-get install ${missing[*]}) and start again." >&2
  exit 64
fi

missing+=("${wanted[@]}")
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
