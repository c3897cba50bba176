#!/usr/bin/env bash
# Proves the local loop of docs: `cargo lambda watch` in one terminal, `cargo lambda invoke` in another, with the repository's
# cargo-lambda.toml. And proves that this file is read: a function started with it gets the variables it names, one without it does not.
# usage: lambda-smoke.sh [EVENT]        default: events/dynamodb/insert.json
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
# shellcheck source=scripts/aws-environment.sh
source "$REPOSITORY/scripts/aws-environment.sh"
# shellcheck source=scripts/services/ports.sh
source "$REPOSITORY/scripts/services/ports.sh"
cd "$REPOSITORY"
eval "$(scripts/tools.sh build)"

FUNCTION=dynamodb-sync
EVENT=${1:-events/dynamodb/insert.json}
# A line of [watch.env] in cargo-lambda.toml.
MARKER=RUST_BACKTRACE=1
export TIDELOCK_TARGET=stdout:
unset RUST_BACKTRACE

work=$(mktemp -d)
watcher=
port=

parent_of() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f2; }

# Prints the id of the function's process among the watcher's descendants.
function_process() {
  local process ancestor
  for process in /proc/[0-9]*; do
    [ "$(readlink "$process/exe" 2>/dev/null)" = "$REPOSITORY/target/debug/$FUNCTION" ] || continue
    ancestor=${process#/proc/}
    while [ "${ancestor:-0}" -gt 1 ]; do
      if [ "$ancestor" = "$watcher" ]; then
        printf '%s\n' "${process#/proc/}"
        return 0
      fi
      ancestor=$(parent_of "$ancestor")
    done
  done
  return 1
}

# The watcher puts the function into a process group of its own, so both are told to end.
end_watch() {
  local process
  if [ -z "$watcher" ]; then return; fi
  process=$(function_process) || process=
  kill -TERM -- "-$watcher" ${process:+"$process"} 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  if [ -n "$process" ]; then kill -KILL "$process" 2>/dev/null || true; fi
  watcher=
}
finish() {
  local status=$?
  trap '' INT TERM
  end_watch
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
  printf '%s\n' "--- output of cargo lambda watch" >&2
  tail -40 "$work/watch.log" >&2 || true
  die "$*"
}

# watch CONFIGURATION starts `cargo lambda watch` in a session of its own; an empty CONFIGURATION means: without the repository's file.
start_watch() {
  local configuration=(env -u CARGO_LAMBDA_GLOBAL)
  if [ -n "$1" ]; then configuration=(env "CARGO_LAMBDA_GLOBAL=$1"); fi
  setsid "${configuration[@]}" cargo lambda watch --ignore-changes --invoke-address 127.0.0.1 --invoke-port "$port" \
    >"$work/watch.log" 2>&1 </dev/null &
  watcher=$!
  local tenths=0
  until listening "$port"; do
    kill -0 "$watcher" 2>/dev/null || fail "cargo lambda watch ended before it listened"
    tenths=$((tenths + 1))
    if [ "$tenths" -ge 600 ]; then fail "cargo lambda watch does not listen on port $port after 60 s"; fi
    sleep 0.1
  done
}

invoke() {
  timeout 60 cargo lambda invoke "$FUNCTION" --data-file "$EVENT" --invoke-address 127.0.0.1 --invoke-port "$port" ||
    fail "cargo lambda invoke failed"
}

# Prints the environment of the function that the watcher started, one variable a line.
function_environment() {
  local process
  process=$(function_process) || fail "no process of target/debug/$FUNCTION under cargo lambda watch"
  tr '\0' '\n' <"/proc/$process/environ"
}

# Compiled before, with the very command watch uses, so that no invocation waits for the compiler.
cargo build --bin "$FUNCTION"
claim_port port 9400 9499

start_watch "$REPOSITORY/cargo-lambda.toml"
answer=$(invoke)
[ "$answer" = '{"batchItemFailures":[]}' ] || fail "the function answered '$answer', not an empty list of failures"
# The document is the one line of JSON; what the function logs beside it is JSON too, but not of this item.
grep -q '^{.*"John"' "$work/watch.log" || fail "the function wrote no document to its standard output"
function_environment >"$work/environment"
grep -qx "$MARKER" "$work/environment" || fail "cargo-lambda.toml is not read: the function got no $MARKER"
end_watch

start_watch ""
invoke >/dev/null
function_environment >"$work/environment"
if grep -qx "$MARKER" "$work/environment"; then fail "the function gets $MARKER without cargo-lambda.toml: this check proves nothing"; fi
end_watch

printf '%s\n' "cargo lambda watch and invoke work, and cargo-lambda.toml is read"
