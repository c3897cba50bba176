#!/usr/bin/env bash
# Prints what CloudFormation makes of a SAM template, as JSON, without asking AWS: scripts/transform.py says more.
# usage: transform.sh TEMPLATE
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
# shellcheck source=scripts/aws-environment.sh
source "$REPOSITORY/scripts/aws-environment.sh"

[ $# = 1 ] || die "usage: transform.sh TEMPLATE"
mkdir -p "$TIDELOCK_CACHE/tools"
exec 9>"$TIDELOCK_CACHE/tools/transform.lock"
flock 9
# The translator that the SAM CLI of scripts/tools.sh has inside.
python_environment "$TIDELOCK_CACHE/tools/transform" aws-sam-translator==1.115.0 PyYAML==6.0.3
flock -u 9

exec "$TIDELOCK_CACHE/tools/transform/bin/python" "$REPOSITORY/scripts/transform.py" "$1"
