"""Templates as data: what CloudFormation gets once SAM has transformed ours."""

import copy
import logging
import os
import pathlib

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

# It counts its own calls, and complains that nobody publishes the count.
logging.getLogger("samtranslator.metrics.metrics").setLevel(logging.ERROR)

# SAM asks for the region before it asks whether it needs one.
os.environ.setdefault("AWS_DEFAULT_REGION", "eu-central-1")

INFRA = pathlib.Path(__file__).resolve().parent.parent


class NoManagedPolicies(ManagedPolicyLoader):
    """We name AWS's policies by ARN, so nobody has to be asked for their names."""

    def __init__(self):
        super().__init__(None)
        self._policy_map = {}

    def load(self):
        return self._policy_map


def source(name="template.yaml"):
    """A template as it was written, with CloudFormation's short forms spelled out."""
    return yaml_parse((INFRA / name).read_text())


def transformed(template):
    """Returns SAM's transform of `template`, with code that counts as uploaded, because its place
    does not matter here."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/code.zip"
    return transform(template, {}, NoManagedPolicies())
