"""Least privilege: each role allows what its function was seen to use, and nothing else.

The rules of `rules/policies.guard` read how a policy is written. A function's needs show in a stack
that runs, so these are steps of the rehearsal.
"""

import hashlib
import itertools
import json
import re

import wiring
from rehearsal.stage import REGION, Browser, client, expect


def listed(value):
    return value if isinstance(value, list) else [value]


# The rehearsal's sandbox takes the app's token, so that a connect need not read the inspector's,
# nor count its calls. No end comes between the steps of a connect, no deletion is cut off, and no
# outage leaves more due than one sweep refreshes.
UNSEEN = {
    ("Callback", "dynamodb:GetItem", "GrantsTableName"),
    ("Deauthorize", "dynamodb:GetItem", "GrantsTableName"),
    ("Deletion", "dynamodb:ConditionCheckItem", "GrantsTableName"),
    ("Refresh", "dynamodb:BatchGetItem", "GrantsTableName"),
    ("Refresh", "dynamodb:ConditionCheckItem", "GrantsTableName"),
    ("Refresh", "dynamodb:DeleteItem", "GrantsTableName"),
    ("Refresh", "dynamodb:DeleteItem", "ShortLivedTableName"),
    ("Refresh", "dynamodb:Scan", "ShortLivedTableName"),
}


def table(name):
    return f"arn:aws:dynamodb:{REGION}:000000000000:table/{name}"


# Every stack has these. The webhook function is there with WebhookUrl alone.
FUNCTIONS = (*sorted({function for _, function in wiring.ROUTES.values()}), "Events", "Refresh")


def roles_hold_what_is_used(stage, functions=FUNCTIONS):
    """Each role allows of the data what its function was seen to use, and nothing else."""
    iam, unused, count = client("iam"), [], 0
    used = calls(stage, functions)
    unseen = {(function, action, table(stage.outputs[name])) for function, action, name in UNSEEN}
    for function in functions:
        role = stage.ids[f"{function}Role"]
        documents = [iam.get_role_policy(RoleName=role, PolicyName=function.lower())["PolicyDocument"]]
        for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
            policy = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)
            documents.append(policy["PolicyVersion"]["Document"])
        for statement in (statement for document in documents for statement in document["Statement"]):
            for action in listed(statement["Action"]):
                # AWS itself uses these for the function: it logs, delivers dead letters, reads the
                # stream, and asks KMS.
                if re.match(r"(logs|sqs|kms):|dynamodb:(ListStreams|DescribeStream|GetRecords|GetShardIterator)$", action):
                    continue
                for resource in listed(statement["Resource"]):
                    count += 1
                    if (function, action, resource) not in used | unseen:
                        unused.append((function, action, resource))
    expect("nothing more than is used", not unused, unused)
    return f"{count} permissions"


def calls(stage, functions):
    """The calls that each function's own credentials made, as the emulator's CloudTrail recorded
    them."""
    transact = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
    names = {}
    for function in functions:
        made = client("lambda").get_function_configuration(FunctionName=stage.ids[f"{function}Function"])
        # The emulator's name for the credentials of a function with a role.
        digest = hashlib.sha256(f"{made['FunctionArn']}:{made['Role']}".encode()).hexdigest()
        names[f"ASIA{digest[:16].upper()}"] = function
    used = set()
    bus = client("events").describe_event_bus(Name=stage.outputs["EventBusName"])["Arn"]
    actions = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "TransactWriteItems", "GetSecretValue", "PutEvents"]
    # The emulator gives the newest 50 that match, and no more.
    for key, action in itertools.product(names, actions):
        match = {"AccessKeyId": key, "EventName": action}
        attributes = [{"AttributeKey": name, "AttributeValue": value} for name, value in match.items()]
        for event in client("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]:
            function, request = names[key], json.loads(event["CloudTrailEvent"])["requestParameters"]
            if action == "TransactWriteItems":
                for kind, item in (pair for one in request["TransactItems"] for pair in one.items()):
                    used.add((function, f"dynamodb:{transact[kind]}", table(item["TableName"])))
            elif action == "PutEvents":
                used.add((function, "events:PutEvents", bus))
            elif action == "GetSecretValue":
                used.add((function, "secretsmanager:GetSecretValue", request["SecretId"]))
            else:
                index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
                used.add((function, f"dynamodb:{action}", table(request["TableName"]) + index))
    return used


def roles_matter(stage):
    """The control experiment: without its policy a function fails, so the emulator does enforce the
    roles."""
    iam, role = client("iam"), stage.ids["AuthorizeRole"]
    kept = iam.get_role_policy(RoleName=role, PolicyName="authorize")["PolicyDocument"]
    target = "/authorize?session=" + "A" * 32
    expect("no such session", Browser().get(target).status == 404)
    iam.delete_role_policy(RoleName=role, PolicyName="authorize")
    expect("it fails", Browser().get(target).status == 503)
    iam.put_role_policy(RoleName=role, PolicyName="authorize", PolicyDocument=json.dumps(kept))
    expect("and works again", Browser().get(target).status == 404)
