# shellcheck shell=bash
# The life of one server on 127.0.0.1: its folder, its process, start and stop. Sourced by the scripts beside it.
#
#   SCRIPT [up] PORT [ARGUMENT…]   start it unless it runs; prints its URL once it answers
#   SCRIPT fresh PORT [ARGUMENT…]  the same with all data wiped first
#   SCRIPT stop PORT               stop it; returns when the process is gone

# shellcheck source=scripts/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"

# begin SERVICE DEFAULT_PORT ARGUMENT… sets COMMAND, PORT, ARGUMENTS, BASE (shared by all instances) and INSTANCE (this one's folder),
# and takes the instance's lock so that two calls for one port follow each other.
begin() {
  local service=$1 port=$2
  shift 2
  COMMAND=up
  case "${1:-}" in
    up | fresh | stop) COMMAND=$1 && shift ;;
    -h | --help)
      sed -n '/^# usage:/,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
      exit 0
      ;;
  esac
  PORT=${1:-$port}
  if [ $# -gt 0 ]; then shift; fi
  # shellcheck disable=SC2034 # read by the script that sources this file
  ARGUMENTS=("$@")
  case "$PORT" in '' | *[!0-9]*) die "port '$PORT' is not a number; usage: ${0##*/} [up|fresh|stop] PORT" ;; esac
  BASE=${BASE:-$TIDELOCK_CACHE/services}
  INSTANCE=$BASE/$service-$PORT
  mkdir -p "$INSTANCE"
  exec {instance_lock}>"$INSTANCE.lock"
  flock "$instance_lock"
}

# install_once NAME FUNCTION runs FUNCTION to fill $BASE/NAME unless an earlier call has; concurrent callers wait for the first.
install_once() {
  local lock
  if [ -e "$BASE/$1/.ready" ]; then return 0; fi
  exec {lock}>"$BASE/$1.lock"
  flock "$lock"
  if [ ! -e "$BASE/$1/.ready" ]; then
    "$2"
    touch "$BASE/$1/.ready"
  fi
  exec {lock}>&-
}

# maven_libraries FOLDER GROUP ARTIFACT VERSION copies an artifact and all it depends on into FOLDER.
maven_libraries() {
  local work=$1.part
  require mvn "fetching ${3}"
  rm -rf "$1" "$work" && mkdir -p "$work"
  cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>local</artifactId><version>1</version>
<dependencies><dependency><groupId>$2</groupId><artifactId>$3</artifactId><version>$4</version></dependency></dependencies></project>
POM
  if ! mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/lib" >"$1.log" 2>&1; then
    tail -20 "$1.log" >&2
    die "could not fetch $2:$3:$4 with Maven"
  fi
  mv "$work/lib" "$1"
  rm -rf "$work"
}

# A process id is only trusted together with the time the process started: ids are used again.
started_at() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# running [NAME] prints the process id of this instance's process, or fails.
running() {
  local pid start
  read -r pid start 2>/dev/null <"$INSTANCE/${1:-server}.pid" || return 1
  [ -n "$start" ] && [ "$(started_at "$pid")" = "$start" ] || return 1
  case "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null)" in Z* | '') return 1 ;; esac
  printf '%s\n' "$pid"
}

# Runs a command with no file descriptor of ours but 0, 1 and 2: a server must not hold its starter's pipes or locks open.
without_descriptors() {
  local fd
  for fd in /proc/"$BASHPID"/fd/*; do
    fd=${fd##*/}
    if [ "$fd" -gt 2 ]; then exec {fd}>&-; fi
  done
  exec "$@"
}

# launch COMMAND… starts the server in a session of its own, inside its folder, with its output in $INSTANCE/log.
launch() {
  if listening "$PORT"; then die "port $PORT is taken by another process; choose another port"; fi
  (
    cd "$INSTANCE" || exit 1
    # Written before there is a server, so that no interruption can leave one that nobody knows.
    pid=$BASHPID
    printf '%s %s\n' "$pid" "$(started_at "$pid")" >"$INSTANCE/server.pid"
    without_descriptors setsid nohup "$@"
  ) </dev/null >"$INSTANCE/log" 2>&1 &
  until [ -s "$INSTANCE/server.pid" ] || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

# await SECONDS PROBE… returns when PROBE succeeds; ends with the log's tail when the server dies or the time is up.
await() {
  local seconds=$1 end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ! running >/dev/null; then
      tail -20 "$INSTANCE/log" >&2
      die "the server ended before it answered on port $PORT; its log: $INSTANCE/log"
    fi
    if [ "$SECONDS" -ge "$end" ]; then
      tail -20 "$INSTANCE/log" >&2
      die "no answer on port $PORT within $seconds s; the server's log: $INSTANCE/log"
    fi
    sleep 0.1
  done
}

# end_process [NAME] ends the process politely, after 20 s by force, and returns when it is gone.
end_process() {
  local pid tenths=0
  if pid=$(running "${1:-server}"); then
    kill "$pid" 2>/dev/null || true
    while running "${1:-server}" >/dev/null; do
      tenths=$((tenths + 1))
      if [ "$tenths" -eq 200 ]; then kill -KILL "$pid" 2>/dev/null || true; fi
      if [ "$tenths" -ge 300 ]; then die "process $pid on port $PORT does not end"; fi
      sleep 0.1
    done
  fi
  rm -f "$INSTANCE/${1:-server}.pid"
}

# serve URL: carries COMMAND out with the functions a script defines: start, and wipe where data lies outside the instance's folder.
serve() {
  case "$COMMAND" in
    stop)
      halt
      return
      ;;
    fresh)
      halt
      wipe
      ;;
  esac
  start
  printf '%s\n' "$1"
}

halt() { end_process; }

wipe() { find "$INSTANCE" -mindepth 1 -delete; }
