#!/usr/bin/env bash
# Builds every function for Lambda, once for all who use it: target/lambda/NAME/bootstrap is what the tests run, the benchmarks measure
# and the templates in infra/ deploy.
# usage: build.sh [CARGO_LAMBDA_OPTION…]        such as --arm64
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
cd "$REPOSITORY"
eval "$(scripts/tools.sh build)"

packages=()
names=()
for manifest in functions/*/Cargo.toml; do
  packages+=(-p "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -1)")
  names+=("$(basename "$(dirname "$manifest")")")
done
cargo lambda build --release "${packages[@]}" "$@"

# Lambda's provided.al2023 has glibc 2.34: a binary that asks for a newer one would fail there at its first start, and only there.
for name in "${names[@]}"; do
  binary=target/lambda/$name/bootstrap
  [ -x "$binary" ] || die "cargo lambda build left no $binary"
  if ! command -v objdump >/dev/null; then continue; fi
  newest=$({ objdump -T "$binary" | grep -oE 'GLIBC_[0-9]+(\.[0-9]+)+' || true; } | sed 's/GLIBC_//' | sort -uV | tail -1)
  if [ "$(printf '%s\n2.34\n' "${newest:-0}" | sort -V | tail -1)" != 2.34 ]; then
    die "$binary needs glibc $newest; provided.al2023 has 2.34. Is zig used? See scripts/tools.sh"
  fi
done
