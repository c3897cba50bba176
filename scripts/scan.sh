#!/usr/bin/env bash
# Scans templates for what AWS accepts and nobody should: open groups, rights on everything, data in the clear. checkov, offline.
# A template's Metadata lists the checks that do not hold for it, each with the reason:
#   Metadata: {checkov: {skip: [{id: CKV_AWS_116, comment: …}]}}
# A reason that nothing needs any more is a failure too.
# usage: scan.sh TEMPLATE…
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"

[ $# -gt 0 ] || die "usage: scan.sh TEMPLATE…"
require checkov "scanning templates; eval \"\$(scripts/tools.sh all)\" puts it on the PATH"
exec "$TIDELOCK_CACHE/tools/scan/bin/python" "$REPOSITORY/scripts/scan.py" "$@"
