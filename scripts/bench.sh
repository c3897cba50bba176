#!/usr/bin/env bash
# Measures the built functions, against an OpenSearch, a FerretDB, a SecantusDB and a DynamoDB Local of its own.
# usage: bench.sh [BENCH_ARGUMENT…]        default: all
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
# shellcheck source=scripts/aws-environment.sh
source "$REPOSITORY/scripts/aws-environment.sh"
# shellcheck source=scripts/services/ports.sh
source "$REPOSITORY/scripts/services/ports.sh"
cd "$REPOSITORY"

port=
mongodb_port=
source_port=
dynamodb_port=
finish() {
  local status=$?
  trap '' INT TERM
  if [ -n "$port" ]; then scripts/services/opensearch.sh stop "$port"; fi
  if [ -n "$mongodb_port" ]; then scripts/services/mongodb.sh stop "$mongodb_port"; fi
  if [ -n "$source_port" ]; then scripts/services/mongodb-source.sh stop "$source_port"; fi
  if [ -n "$dynamodb_port" ]; then scripts/services/dynamodb.sh stop "$dynamodb_port"; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

scripts/install-prerequisites.sh
scripts/build.sh
cargo build --release -p tidelock-bench -p tidelock-cli
benches/peers/install.sh
if [ -z "${TIDELOCK_TEST_OPENSEARCH:-}" ]; then
  claim_port port 9210 9299
  TIDELOCK_TEST_OPENSEARCH=$(scripts/services/opensearch.sh fresh "$port")
  export TIDELOCK_TEST_OPENSEARCH
fi
if [ -z "${TIDELOCK_TEST_FERRETDB:-}" ]; then
  # PostgreSQL listens 10000 above it.
  claim_port mongodb_port 27100 27299 10000
  TIDELOCK_TEST_FERRETDB=$(scripts/services/mongodb.sh fresh "$mongodb_port")
  export TIDELOCK_TEST_FERRETDB
fi
if [ -z "${TIDELOCK_TEST_SECANTUSDB:-}" ]; then
  claim_port source_port 27700 27799
  TIDELOCK_TEST_SECANTUSDB=$(scripts/services/mongodb-source.sh fresh "$source_port")
  export TIDELOCK_TEST_SECANTUSDB
fi
if [ -z "${TIDELOCK_TEST_DYNAMODB:-}" ]; then
  claim_port dynamodb_port 8100 8199
  TIDELOCK_TEST_DYNAMODB=$(scripts/services/dynamodb.sh fresh "$dynamodb_port")
  export TIDELOCK_TEST_DYNAMODB
fi
export TIDELOCK_TEST_BOOTSTRAPS=$REPOSITORY/target/lambda
if [ $# -eq 0 ]; then set -- all; fi
target/release/tidelock-bench "$@"
target/release/tidelock-bench report
