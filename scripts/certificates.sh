#!/usr/bin/env bash
# Puts Amazon's certificates for DocumentDB beside the functions that connect to a cluster, as global-bundle.pem: those of
# infra/documentdb-to-opensearch.yaml. sam deploys what lies in target/lambda/NAME/.
# usage: certificates.sh [FILE]        FILE: the bundle, where this machine may not fetch it
# environment: TIDELOCK_CACHE   keeps what was fetched
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
cd "$REPOSITORY"
TEMPLATE=infra/documentdb-to-opensearch.yaml
ADDRESS=https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem
CACHED=$TIDELOCK_CACHE/global-bundle.pem
BY_HAND="fetch $ADDRESS where that works, and give the file: make certificates FILE=global-bundle.pem"

# A page that says why there is no bundle is not one.
usable() {
  local count
  count=$(grep -c -- '-----BEGIN CERTIFICATE-----' "$1" 2>/dev/null) || return 1
  [ "$count" = "$(grep -c -- '-----END CERTIFICATE-----' "$1")" ] && openssl x509 -in "$1" -noout 2>/dev/null
}

require openssl "looking at the certificates"
if [ $# -gt 0 ]; then
  bundle=$1
  [ -f "$bundle" ] || die "there is no file $bundle"
  usable "$bundle" || die "$bundle is no bundle of certificates (PEM)"
else
  bundle=$CACHED
  if ! usable "$bundle"; then
    require curl "fetching the certificates"
    mkdir -p "$TIDELOCK_CACHE"
    if ! curl --silent --show-error --fail --location --max-time 60 --output "$bundle.part" "$ADDRESS"; then
      rm -f "$bundle.part"
      die "could not fetch Amazon's certificates; $BY_HAND"
    fi
    if ! usable "$bundle.part"; then
      rm -f "$bundle.part"
      die "what $ADDRESS answered is no bundle of certificates; $BY_HAND"
    fi
    mv "$bundle.part" "$bundle"
  fi
fi

# The functions of the template that name the file.
functions=$(awk '/CodeUri:/ { folder = $2 } /_CA_FILE: global-bundle.pem/ { sub(/.*target\/lambda\//, "", folder); sub(/\/$/, "", folder); print folder }' "$TEMPLATE" | sort -u)
[ -n "$functions" ] || die "no function of $TEMPLATE names global-bundle.pem"
for name in $functions; do
  [ -d "target/lambda/$name" ] || die "target/lambda/$name is not there: build the functions first (make build)"
  cp "$bundle" "target/lambda/$name/global-bundle.pem"
  say "target/lambda/$name/global-bundle.pem"
done
