#!/usr/bin/env bash
# SQS, Kinesis, Firehose, S3, Secrets Manager, SSM, STS, CloudFormation and more on 127.0.0.1:PORT, in memory, by moto 5.2.5 from PyPI.
# usage: aws.sh [up|fresh|stop] PORT
# environment: BASE   folder for programs and logs
set -euo pipefail
# shellcheck source=scripts/services/instance.sh
source "$(dirname "$0")/instance.sh"
begin aws 15000 "$@"
VERSION=5.2.5
PROGRAMS=moto-$VERSION

install() { python_environment "$BASE/$PROGRAMS" "moto[server]==$VERSION"; }

answers() { curl -sf --max-time 5 "http://127.0.0.1:$PORT/moto-api/data.json"; }

start() {
  if running >/dev/null && answers >/dev/null; then return; fi
  require curl "asking moto whether it is up"
  install_once "$PROGRAMS" install
  end_process
  launch "$BASE/$PROGRAMS/bin/moto_server" -H 127.0.0.1 -p "$PORT"
  await 60 answers
}

serve "http://127.0.0.1:$PORT"
