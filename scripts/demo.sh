#!/usr/bin/env bash
# The main job on this machine: make demo [TARGET=sqlite|opensearch|mongodb]
# The default needs Rust and a C compiler alone; the others start a real server of their own and stop it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
target=${TARGET:-sqlite}
folder=$(mktemp -d)
stop=:
trap 'rm -rf "$folder"; $stop' EXIT
case $target in
  sqlite) url=sqlite:$folder/demo.db ;;
  opensearch)
    port=${PORT:-9271}
    scripts/install-prerequisites.sh
    stop="scripts/services/opensearch.sh stop $port"
    scripts/services/opensearch.sh up "$port" >/dev/null
    url=opensearch+http://127.0.0.1:$port ;;
  mongodb)
    port=${PORT:-27171}
    scripts/install-prerequisites.sh
    stop="scripts/services/mongodb.sh stop $port"
    scripts/services/mongodb.sh up "$port" >/dev/null
    url="mongodb://127.0.0.1:$port/replicatest?directConnection=true" ;;
  *) echo "TARGET must be sqlite, opensearch or mongodb, not '$target'" >&2; exit 2 ;;
esac
command -v cargo >/dev/null || { echo 'the demonstration needs Rust: https://rustup.rs' >&2; exit 1; }
# A target folder and features of its own, so that no Lambda build ever gets the embedded target.
echo "building (the first time takes a few minutes) …"
cargo build --quiet --target-dir target/demo -p tidelock-dynamodb-sync --no-default-features --features "$target"
cargo build --quiet --target-dir target/demo -p tidelock-demo --no-default-features --features "$target"
target/demo/debug/tidelock-demo --function target/demo/debug/dynamodb-sync --target "$url" --folder "$folder"
