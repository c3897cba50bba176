"""Runs checkov over templates, and holds its findings against what their Metadata excuses.

usage: scan.py TEMPLATE...
"""

import json
import subprocess
import sys
from pathlib import Path

import yaml

CHECKOV = Path(sys.executable).parent / "checkov"

# Checks of this release that break off instead of answering, and who asks instead.
BROKEN = {"CKV_AWS_360": "days of backups that are a parameter; tests/templates/stack/stores.rs looks at its default"}

# A reason is a sentence.
SHORTEST_REASON = 20


class Loader(yaml.SafeLoader):
    """Reads CloudFormation's tags, and forgets them."""


def _value(loader, _tag, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", _value)


def excused(path):
    template = yaml.load(Path(path).read_text(), Loader)
    skips = template.get("Metadata", {}).get("checkov", {}).get("skip", [])
    return {skip["id"]: skip.get("comment", "") for skip in skips}


def failed(path):
    command = [CHECKOV, "--framework", "cloudformation", "--skip-download", "--compact", "--output", "json"]
    command += ["--skip-check", ",".join(BROKEN), "--file", path]
    run = subprocess.run(command, capture_output=True, text=True)
    # A check that breaks off is logged, and found nowhere else.
    if run.returncode not in (0, 1) or " ERROR " in run.stderr or "[ERROR]" in run.stderr:
        sys.exit(f"checkov failed on {path}:\n{run.stderr}")
    report = json.loads(run.stdout)
    if report["summary"]["parsing_errors"] or not report["summary"]["resource_count"]:
        sys.exit(f"checkov cannot read {path}")
    return report["summary"]["passed"], report["results"]["failed_checks"]


def problems(path):
    excuses = excused(path)
    for check, reason in excuses.items():
        if len(reason) < SHORTEST_REASON:
            yield f"{path}: Metadata excuses {check} without a reason"
    passed, findings = failed(path)
    for finding in findings:
        if finding["check_id"] not in excuses:
            first, last = finding["file_line_range"]
            yield f"{path}:{first}-{last}: {finding['resource']}: {finding['check_id']} {finding['check_name']}"
    for check in excuses.keys() - {finding["check_id"] for finding in findings}:
        yield f"{path}: Metadata excuses {check}, which nothing fails"
    print(f"{path}: {passed} checks passed, {len(findings)} findings, {len(excuses)} checks excused", file=sys.stderr)


if len(sys.argv) < 2:
    sys.exit(__doc__.strip().splitlines()[-1])
found = [problem for path in sys.argv[1:] for problem in problems(path)]
print("\n".join(found), end="\n" if found else "")
sys.exit(1 if found else 0)
