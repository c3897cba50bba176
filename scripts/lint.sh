#!/usr/bin/env bash
# What a change must pass besides the tests: formatting, clippy, dependency policy, templates, shell scripts. Runs all, then says what failed.
# usage: lint.sh
set -euo pipefail
# shellcheck source=scripts/environment.sh
source "$(dirname "$0")/environment.sh"
# shellcheck source=scripts/aws-environment.sh
source "$REPOSITORY/scripts/aws-environment.sh"
cd "$REPOSITORY"

scripts/install-prerequisites.sh
tools=$(scripts/tools.sh all)
eval "$tools"

advisories() {
  if ! timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    say "skipped: the advisory database cannot be reached from here"
    return
  fi
  cargo deny check advisories
}

# The functions a template deploys, one a line.
deployed_by() { sed -n 's|.*CodeUri: *\.\./target/lambda/\([a-z0-9-]*\)/*.*|\1|p' "$1" | sort -u; }

# A template can be checked once the functions it deploys exist.
deployable() {
  local name
  while read -r name; do
    [ -d "functions/$name" ] || return 1
  done < <(deployed_by "$1")
}

# The artifact is built once, by scripts/build.sh: what `sam build` hands on to `sam deploy` must be that very file.
sam_build() {
  local name folder packaged
  sam build --template "$1" --build-dir "$2" >"$2.log" 2>&1 || {
    cat "$2.log" >&2
    return 1
  }
  while read -r name; do
    packaged=
    while read -r folder; do
      if cmp -s "$2/$folder/bootstrap" "target/lambda/$name/bootstrap"; then packaged=yes; fi
    done < <(sed -n 's|^ *CodeUri: *||p' "$2/template.yaml")
    if [ -z "$packaged" ]; then
      say "what sam build made of $1 does not deploy target/lambda/$name/bootstrap"
      return 1
    fi
  done < <(deployed_by "$1")
}

templates() {
  local template output failed=0
  output=$(mktemp -d)
  for template in infra/*.yaml infra/*/*.yaml; do
    [ -e "$template" ] || continue
    scripts/scan.sh "$template" || failed=1
    if ! deployable "$template"; then
      say "skipped: $template, whose functions are not here yet"
      continue
    fi
    cfn-lint "$template" || failed=1
    if grep -q 'AWS::Serverless-2016-10-31' "$template"; then
      sam validate --lint --template "$template" --region "$AWS_REGION" >"$output/validate.log" 2>&1 || {
        cat "$output/validate.log" >&2
        failed=1
      }
      sam_build "$template" "$output/$(basename "$template" .yaml)" || failed=1
    fi
  done
  rm -rf "$output"
  return "$failed"
}

shell_scripts() { shellcheck --external-sources --source-path=. scripts/*.sh scripts/services/*.sh .ci/run; }

failed=()
check() { timed "$@" || failed+=("$1"); }

check "cargo fmt" cargo fmt --all --check
check "shellcheck" shell_scripts
check "cargo deny" cargo deny --log-level error check bans licenses sources
check "advisories" advisories
check "clippy" cargo clippy --workspace --all-targets -- -D warnings
check "functions (release)" scripts/build.sh
check "templates" templates

print_summary
if [ ${#failed[@]} -gt 0 ]; then die "failed: $(printf '%s, ' "${failed[@]}" | sed 's/, $//')"; fi
