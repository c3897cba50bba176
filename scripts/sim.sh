#!/usr/bin/env bash
# The simulation: the real code on a virtual clock, with every fault there is.
# usage: sim.sh [SIMULATION_ARGUMENT…]        such as --seeds 10000, --seed 17 --trace
#        sim.sh --fleet [--terse]             a hundred functions against a server that cannot keep up with them; in brief
#        sim.sh mutants [FILTER]              breaks the code in one place after another; the simulation must notice each
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
cd "$REPOSITORY"

if [ "${1:-}" = mutants ]; then
  shift
  exec cargo run --quiet --profile sim -p tidelock-sim --bin mutants -- "$@"
fi
exec cargo run --quiet --profile sim -p tidelock-sim --bin tidelock-sim -- "$@"
