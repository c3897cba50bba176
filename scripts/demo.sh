#!/usr/bin/env bash
# The main job on this machine: make demo [PIPELINE=dynamodb] [TARGET=sqlite|opensearch|mongodb], or make demo PIPELINE=documentdb
# The default needs Rust and a C compiler alone; the others start real servers of their own and stop them again.
# environment: PORT          port of the target's server
#              SOURCE_PORT   port of the server that stands for DocumentDB
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pipeline=${PIPELINE:-dynamodb}
target=${TARGET:-}
case $pipeline in
  dynamodb) target=${target:-sqlite} ;;
  documentdb)
    target=${target:-opensearch}
    if [ "$target" != opensearch ]; then echo "with PIPELINE=documentdb TARGET must be opensearch, not '$target'" >&2 && exit 2; fi
    ;;
  *) echo "PIPELINE must be dynamodb or documentdb, not '$pipeline'" >&2 && exit 2 ;;
esac
folder=$(mktemp -d)
stops=(:)
finish() {
  local stop
  rm -rf "$folder"
  for stop in "${stops[@]}"; do $stop; done
}
trap finish EXIT

# serve COMMAND SERVICE PORT starts a server (up, or fresh: without what an earlier run has left) that is stopped at the end.
serve() {
  stops+=("scripts/services/$2.sh stop $3")
  "scripts/services/$2.sh" "$1" "$3" >/dev/null
}

command -v cargo >/dev/null || { echo 'the demonstration needs Rust: https://rustup.rs' >&2 && exit 1; }

# A target folder and features of its own, so that no Lambda build ever gets the embedded target.
build() {
  echo "building (the first time takes a few minutes) …"
  cargo build --quiet --target-dir target/demo "${functions[@]}"
  cargo build --quiet --target-dir target/demo -p tidelock-demo --no-default-features --features "$1" --bin "$2"
}

if [ "$pipeline" = documentdb ]; then
  port=${PORT:-9272}
  source_port=${SOURCE_PORT:-27172}
  scripts/install-prerequisites.sh
  functions=(-p tidelock-documentdb-sync -p tidelock-enable-change-streams -p tidelock-demo-writer -p tidelock-demo-reader -p tidelock-redrive)
  build documentdb tidelock-demo-documentdb
  echo "starting OpenSearch, and SecantusDB for DocumentDB …"
  serve fresh mongodb-source "$source_port"
  serve fresh opensearch "$port"
  target/demo/debug/tidelock-demo-documentdb --functions target/demo/debug --folder "$folder" \
    --cluster "mongodb://127.0.0.1:$source_port/?directConnection=true" \
    --opensearch "127.0.0.1:$port" --opensearch-script scripts/services/opensearch.sh
  exit
fi

case $target in
  sqlite) url=sqlite:$folder/demo.db ;;
  opensearch)
    port=${PORT:-9271}
    scripts/install-prerequisites.sh
    serve up opensearch "$port"
    url=opensearch+http://127.0.0.1:$port
    ;;
  mongodb)
    port=${PORT:-27171}
    scripts/install-prerequisites.sh
    serve up mongodb "$port"
    url="mongodb://127.0.0.1:$port/replicatest?directConnection=true"
    ;;
  *) echo "TARGET must be sqlite, opensearch or mongodb, not '$target'" >&2 && exit 2 ;;
esac
functions=(-p tidelock-dynamodb-sync --no-default-features --features "$target")
build "$target" tidelock-demo
target/demo/debug/tidelock-demo --function target/demo/debug/dynamodb-sync --target "$url" --folder "$folder"
