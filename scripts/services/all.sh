#!/usr/bin/env bash
# All servers the tests use, started side by side. Prints `export NAME=value` lines once all answer.
# usage: all.sh [up|fresh|stop]
# environment: OPENSEARCH_PORT FERRETDB_PORT FERRETDB_TLS_PORT SECANTUSDB_PORT DYNAMODB_PORT AWS_PORT
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/../environment.sh"
cd "$(dirname "$0")"

command=${1:-up}
case "$command" in up | fresh | stop) ;; *) die "unknown argument '$command'; usage: all.sh [up|fresh|stop]" ;; esac

OPENSEARCH_PORT=${OPENSEARCH_PORT:-9201}
FERRETDB_PORT=${FERRETDB_PORT:-27017}
FERRETDB_TLS_PORT=${FERRETDB_TLS_PORT:-27020}
SECANTUSDB_PORT=${SECANTUSDB_PORT:-27018}
DYNAMODB_PORT=${DYNAMODB_PORT:-8000}
AWS_PORT=${AWS_PORT:-15000}

urls=$(mktemp -d)
trap 'rm -rf "$urls"' EXIT
jobs=()
service() { # service NAME SCRIPT PORT
  local script=$2 port=$3
  "./$script.sh" "$command" "$port" >"$urls/$1" &
  jobs+=($!)
}
service OPENSEARCH opensearch "$OPENSEARCH_PORT"
service FERRETDB mongodb "$FERRETDB_PORT"
AUTH=1 TLS=1 service FERRETDB_TLS mongodb "$FERRETDB_TLS_PORT"
service SECANTUSDB mongodb-source "$SECANTUSDB_PORT"
service DYNAMODB dynamodb "$DYNAMODB_PORT"
service AWS aws "$AWS_PORT"

failed=0
for job in "${jobs[@]}"; do
  wait "$job" || failed=1
done
[ "$failed" = 0 ] || die "not every server came up; the reason is above"
if [ "$command" = stop ]; then exit 0; fi

for name in OPENSEARCH FERRETDB FERRETDB_TLS SECANTUSDB DYNAMODB AWS; do
  printf 'export TIDELOCK_TEST_%s=%q\n' "$name" "$(cat "$urls/$name")"
done
printf 'export TIDELOCK_TEST_FERRETDB_CA=%q\n' "${BASE:-$TIDELOCK_CACHE/services}/mongodb-$FERRETDB_TLS_PORT/ca.pem"
