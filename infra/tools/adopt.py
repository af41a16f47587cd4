"""Steps from a stack that has everything in one to a stack for its data, as UPGRADING.md has them.

`adopt.py keep <FORMER >KEPT` writes the stack's template with all data kept, whatever becomes of
the stack. `adopt.py import FOLDER INDEX…` reads the result of
`aws cloudformation describe-stacks --stack-name STACK --output json`, and writes `template.json`
and `resources.json` for `aws cloudformation create-change-set --change-set-type IMPORT` into
FOLDER. STACK has the service's parameters already, and the table of grants these indexes.
"""

import json
import pathlib
import sys

from samcli.yamlhelper import yaml_dump, yaml_parse

import render

# The identifier by which CloudFormation knows a resource, and the output that has it.
IDENTIFIERS = {
    "DataKey": ("KeyId", lambda given: given["DataKeyArn"].rpartition("/")[2]),
    "GrantsTable": ("TableName", lambda given: given["GrantsTableName"]),
    "ShortLivedTable": ("TableName", lambda given: given["ShortLivedTableName"]),
    "AppSecret": ("Id", lambda given: given["AppSecretArn"]),
    "KeyringSecret": ("Id", lambda given: given["KeyringSecretArn"]),
}


def template(source, stack, indexes):
    """The data's template with nothing in it but what is imported: an import makes nothing, and
    gives no outputs. What it says has to be so already, so an index that the table does not have
    yet is left to the next update."""
    resources = {name: dict(source["Resources"][name]) for name in IDENTIFIERS}
    for resource in resources.values():
        resource.pop("DependsOn", None)
        resource.pop("Metadata", None)
        # However the import ends, and whoever created this.
        resource["DeletionPolicy"] = "Retain"
    grants = resources["GrantsTable"]
    present = [index for index in grants["Properties"].get("GlobalSecondaryIndexes", []) if index["IndexName"] in indexes]
    used = {key["AttributeName"] for index in [grants["Properties"], *present] for key in index["KeySchema"]}
    attributes = [attribute for attribute in grants["Properties"]["AttributeDefinitions"] if attribute["AttributeName"] in used]
    changed = {"GlobalSecondaryIndexes": present, "AttributeDefinitions": attributes}
    resources["GrantsTable"] = grants | {"Properties": grants["Properties"] | changed}
    key = resources["DataKey"]
    resources["DataKey"] = key | {"Properties": key["Properties"] | {"Description": f"The tables and secrets of {stack}"}}
    return {"AWSTemplateFormatVersion": "2010-09-09", "Description": source["Description"], "Resources": resources}


def resources(source, given):
    return [
        {"ResourceType": source["Resources"][name]["Type"], "LogicalResourceId": name, "ResourceIdentifier": {key: value(given)}}
        for name, (key, value) in IDENTIFIERS.items()
    ]


def kept(former):
    """A template of before, with all data kept. CloudFormation does not take a policy alone for a
    change of a resource, but metadata it does."""
    for name in IDENTIFIERS:
        resource = former["Resources"][name]
        resource |= {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
        resource["Metadata"] = resource.get("Metadata", {}) | {"Kept": "whatever becomes of the stack"}
    return former


def adopted(folder, indexes):
    stack = json.load(sys.stdin)["Stacks"][0]
    given = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    source = render.source("data.yaml")
    for name, content in {"template": template(source, stack["StackName"], indexes), "resources": resources(source, given)}.items():
        pathlib.Path(folder, f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def main(arguments):
    match arguments:
        case ["keep"]:
            sys.stdout.write(yaml_dump(kept(yaml_parse(sys.stdin.read()))))
        case ["import", folder, *indexes] if indexes:
            adopted(folder, indexes)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
