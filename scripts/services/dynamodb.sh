#!/usr/bin/env bash
# DynamoDB Local 2.6.1 with DynamoDB Streams on 127.0.0.1:PORT, in memory, from Maven Central alone.
# usage: dynamodb.sh [up|fresh|stop] PORT
# environment: BASE   folder for programs and logs
#              JAVA   a Java runtime of version 17 or later
set -euo pipefail
# shellcheck source=scripts/services/instance.sh
source "$(dirname "$0")/instance.sh"
begin dynamodb 8000 "$@"
VERSION=2.6.1
LIBRARIES=dynamodb-local-$VERSION

install() { maven_libraries "$BASE/$LIBRARIES" com.amazonaws DynamoDBLocal "$VERSION"; }

# An unsigned request is refused with 400, which only a server that is up can do.
answers() { [ "$(curl -s --max-time 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$PORT/")" = 400 ]; }

start() {
  if running >/dev/null && answers; then return; fi
  local java
  java=$(find_java 17) || die "DynamoDB Local needs Java 17 or later; scripts/install-prerequisites.sh installs it on Debian, or set JAVA"
  require curl "asking DynamoDB Local whether it is up"
  install_once "$LIBRARIES" install
  end_process
  DDB_LOCAL_TELEMETRY=0 launch "$java" -Xmx512m -Djava.library.path="$BASE/$LIBRARIES" -cp "$BASE/$LIBRARIES/*" \
    com.amazonaws.services.dynamodbv2.local.main.ServerRunner -disableTelemetry -inMemory -sharedDb -port "$PORT"
  await 60 answers
}

serve "http://127.0.0.1:$PORT"
