"""What CloudFormation makes of a SAM template, as JSON on standard output; any other template as it is, as JSON.

Macros of CloudFormation itself are left to it. Local folders of functions stand for what `sam package` would have stored.
usage: transform.py TEMPLATE
"""

import json
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

SAM = "AWS::Serverless-2016-10-31"


class NoManagedPolicies:
    """Roles are written out in the templates, so that none of SAM's own policies is asked for."""

    def load(self):
        return {}


def transformed(path):
    template = yaml_parse(Path(path).read_text())
    transforms = template.get("Transform", [])
    transforms = [transforms] if isinstance(transforms, str) else transforms
    if SAM not in transforms:
        return template
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = {"Bucket": "artifacts", "Key": Path(properties["CodeUri"]).name}
    return transform(template, {}, NoManagedPolicies())


if len(sys.argv) != 2:
    sys.exit(__doc__.strip().splitlines()[-1])
json.dump(transformed(sys.argv[1]), sys.stdout, default=str)
