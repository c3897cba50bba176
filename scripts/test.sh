#!/usr/bin/env bash
# Everything the tests need, from a bare clone: prerequisites, tools, functions, servers on free ports; then the tests themselves.
# usage: test.sh [FILTER]        FILTER: run only the tests whose names contain it
# Servers named by TIDELOCK_TEST_* variables (`make services-up` prints them) are used as they are instead of new ones.
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
# shellcheck source=scripts/aws-environment.sh
source "$REPOSITORY/scripts/aws-environment.sh"
# shellcheck source=scripts/services/ports.sh
source "$REPOSITORY/scripts/services/ports.sh"
cd "$REPOSITORY"
FILTER=${1:-}

work=$(mktemp -d)
starter=
finish() {
  local status=$?
  trap '' INT TERM
  trap - EXIT
  if [ -n "$starter" ]; then
    # Ends a start that is still under way, with what it started, then stops what had come up.
    kill -TERM -- "-$starter" 2>/dev/null || true
    wait "$starter" 2>/dev/null || true
    say "stopping the servers"
    scripts/services/all.sh stop || status=1
  fi
  rm -rf "$work"
  print_summary
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

timed "prerequisites" scripts/install-prerequisites.sh

# One that was named and has gone would fail every test that needs it, one time limit after another.
expect_named_servers() {
  local name value place
  for name in "${!TIDELOCK_TEST_@}"; do
    value=${!name}
    [[ $value == *://* ]] || continue
    place=${value#*://}
    place=${place##*@}
    place=${place%%[/?,]*}
    [[ $place == *:* ]] || continue
    listening "${place##*:}" "${place%:*}" ||
      die "$name: nothing listens at $place; start it, or unset the TIDELOCK_TEST_* variables: the tests then start servers of their own"
  done
}

start_servers() {
  if [ -n "${TIDELOCK_TEST_OPENSEARCH:-}" ]; then
    say "using the servers named by TIDELOCK_TEST_* variables"
    expect_named_servers
    return
  fi
  # OpenSearch's runner takes 9201 to 9299; PostgreSQL listens 10000 above FerretDB.
  claim_port OPENSEARCH_PORT 9210 9299
  claim_port FERRETDB_PORT 27100 27299 10000
  claim_port FERRETDB_TLS_PORT 27300 27499 10000
  claim_port SECANTUSDB_PORT 27500 27699
  claim_port DYNAMODB_PORT 8100 8199
  claim_port AWS_PORT 15100 15199
  export OPENSEARCH_PORT FERRETDB_PORT FERRETDB_TLS_PORT SECANTUSDB_PORT DYNAMODB_PORT AWS_PORT
  say "starting the servers in the background, on ports $OPENSEARCH_PORT $FERRETDB_PORT $FERRETDB_TLS_PORT $SECANTUSDB_PORT $DYNAMODB_PORT $AWS_PORT"
  # In a session of its own, so that it can be ended with all it started.
  setsid scripts/services/all.sh fresh >"$work/environment" 2>"$work/servers.log" </dev/null &
  starter=$!
}

await_servers() {
  if [ -z "$starter" ]; then return; fi
  if ! wait "$starter"; then
    cat "$work/servers.log" >&2
    return 1
  fi
  # shellcheck disable=SC1091 # written by services/all.sh
  source "$work/environment"
}

# The benchmarks' own dependencies ask for features that nothing else here does. Compiled apart, they do not keep `cargo lambda watch`
# from running what the tests have compiled. MONGODB-AWS is a feature that no default build has.
cargo_tests() {
  cargo test --workspace --exclude tidelock-bench "$@" && cargo test -p tidelock-bench "$@" &&
    cargo test -p tidelock-mongodb --features aws "$@"
}

run_tests() {
  if [ -n "$FILTER" ]; then
    cargo_tests --no-fail-fast -- "$FILTER"
  else
    cargo_tests --no-fail-fast
  fi
}

start_servers
timed "functions (release)" scripts/build.sh
timed "tests (compile)" cargo_tests --no-run
timed "servers" await_servers

export TIDELOCK_TEST_BOOTSTRAPS=$REPOSITORY/target/lambda TIDELOCK_REQUIRE_SERVICES=1
timed "tests" run_tests
if [ -z "$FILTER" ]; then
  timed "cargo lambda watch and invoke" scripts/lambda-smoke.sh
  timed "simulation, 500 seeds" scripts/sim.sh --seeds 500
  timed "simulation, mutants" scripts/sim.sh mutants
fi
