#!/usr/bin/env bash
# Installs the handlers that the benchmark compares with: npm packages and a Python environment, in the cache folder.
# usage: benches/peers/install.sh      env: TIDELOCK_CACHE (default ~/.cache/tidelock)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
peers=${TIDELOCK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidelock}/bench-peers
mkdir -p "$peers"

# The sources are copied every time; packages are installed and bundled again only when something has changed.
cp -r "$here"/. "$peers"/
wanted=$(cat "$here"/node/* "$here"/python-*/requirements.txt "${BASH_SOURCE[0]}" | sha256sum)
if [ "$wanted" != "$(cat "$peers/installed" 2>/dev/null || true)" ]; then
  # The bundler is no part of what is deployed, so it goes again before sizes are measured.
  (cd "$peers/node" && npm ci --no-audit --no-fund && npm run --silent bundle && npm prune --omit=dev --no-audit --no-fund)
  # One folder of packages per handler, as it would be zipped.
  python3 -m venv "$peers/python"
  for handler in python-opensearch python-mongodb; do
    rm -rf "$peers/$handler/packages"
    "$peers/python/bin/pip" install --quiet --target "$peers/$handler/packages" --requirement "$peers/$handler/requirements.txt"
  done
  printf '%s\n' "$wanted" >"$peers/installed"
fi
echo "handlers installed in $peers"
