#!/usr/bin/env bash
# SecantusDB 0.7.0b3 on 127.0.0.1:PORT, from PyPI: MongoDB's wire protocol with change streams, oplog, transactions and retryable writes.
# usage: mongodb-source.sh [up|fresh|stop] PORT [SERVER_OPTION…]        such as --auth, --tls-cert-file FILE, --tls-key-file FILE
# environment: BASE   folder for programs and data
set -euo pipefail
# shellcheck source=scripts/services/instance.sh
source "$(dirname "$0")/instance.sh"
begin mongodb-source 27018 "$@"
VERSION=0.7.0b3
PROGRAMS=secantusdb-$VERSION

install() { python_environment "$BASE/$PROGRAMS" "secantusdb==$VERSION"; }

start() {
  if running >/dev/null && listening "$PORT"; then return; fi
  install_once "$PROGRAMS" install
  end_process
  launch "$BASE/$PROGRAMS/bin/secantusd-py" --port "$PORT" --storage-path "$INSTANCE/data" "${ARGUMENTS[@]}"
  await 60 listening "$PORT"
}

serve "mongodb://127.0.0.1:$PORT/?directConnection=true"
