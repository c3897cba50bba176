# shellcheck shell=bash
# Free ports for one run, such that runs side by side never get the same one. Sourced, never run.

# claim_port VARIABLE LOW HIGH [OFFSET] sets VARIABLE to a port on which nothing listens, nor on the port OFFSET above it, and which no
# other run has claimed. The claim is a lock that lasts as long as this shell.
claim_port() {
  # Names unlikely to be the caller's VARIABLE: bash resolves a name reference in the innermost scope.
  local -n claim_result=$1
  local claim_port claim_lock claim_folder
  claim_folder=${TMPDIR:-/tmp}/tidelock-ports-$(id -u)
  mkdir -p "$claim_folder"
  for ((claim_port = $2; claim_port <= $3; claim_port++)); do
    exec {claim_lock}>"$claim_folder/$claim_port"
    if flock -n "$claim_lock" && ! listening "$claim_port" && ! { [ -n "${4:-}" ] && listening $((claim_port + $4)); }; then
      # shellcheck disable=SC2034 # a name reference: the caller reads it
      claim_result=$claim_port
      return 0
    fi
    exec {claim_lock}>&-
  done
  die "no free port from $2 to $3 on 127.0.0.1"
}
