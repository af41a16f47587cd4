"""An operator with our command, and others who may do less."""

import json
import os
import pathlib
import re
import subprocess

import wiring

from .stage import REGION, STACK, client, expect


def operate(stage, *arguments, stack=STACK, **environment):
    """Runs our command on the stack, as an operator types it. Returns its exit code, its JSON, and
    its messages."""
    command = [stage.command, *arguments, "--stack", stack, "--region", REGION, "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    secret = [canary for canary in stage.canaries if canary in done.stdout + done.stderr]
    expect(f"{arguments} says no secret", not secret, f"{len(secret)} were said")
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def operator(stage, name, *allowed):
    """The environment of somebody who may do this and nothing else."""
    kept = {"Effect": "Allow", "Action": "cloudformation:DescribeStacks", "Resource": "*"}
    statements = [kept, *({"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed)]
    return holder(stage, name, json.dumps({"Version": "2012-10-17", "Statement": statements}))


def holder(stage, name, policy):
    """The environment of somebody who holds a policy and no other."""
    iam = client("iam")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    stage.canaries.append(key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def filled(stage, name):
    """A policy of infra/policies with the stack's own names in it, as infra/policy fills it in."""
    known = {**stage.outputs, "Partition": "aws", "Region": REGION, "Account": "000000000000", "Stack": STACK}
    text = pathlib.Path(wiring.INFRA, "policies", f"{name}.json").read_text()
    return re.sub(r"\{(\w+)\}", lambda match: known[match[1]], text)


def people_hold_enough(stage):
    """The policy `operate` is enough for every kind of command; with `read` one looks, opens
    nothing and changes nothing."""
    operate_only = holder(stage, "operate", filled(stage, "operate"))
    for command in (
        ["accounts", "list"],
        ["accounts", "show", stage.ada],
        ["pause", "--verdicts"],
        ["resume"],
        ["sweep", "--invoke"],
        ["sweep"],
        ["keyring", "reseal"],
    ):
        code, _, said = operate(stage, *command, **operate_only)
        expect(f"{command} with the policy", code == 0, (code, said))
    everything, operating = examined(stage), examined(stage, **operate_only)
    expect("doctor sees all of it", everything == operating, (everything, operating))
    read_only = holder(stage, "read", filled(stage, "read"))
    reading = examined(stage, **read_only)
    missed = {check for check, level in reading.items() if level != everything[check]}
    expect("a reader sees no secret", {"app secret", "keyring"} <= missed <= UNREADABLE, missed)
    expect("which is a warning", {reading[check] for check in missed} == {"warn"}, reading)
    for command, is_allowed in ((["accounts", "list"], True), (["accounts", "show", stage.ada], True), (["pause"], False), (["sweep"], False), (["sweep", "--invoke"], False)):
        code, _, said = operate(stage, *command, **read_only)
        expect(f"{command} of a reader", (code == 0) == is_allowed, (code, said))


# The emulator knows a schedule and a bus by other ARNs than AWS documents, and wants the right to
# list mappings of whoever asks for one.
JUDGED_OTHERWISE = {"schedule", "events mapping", "event bus"}
# These checks need a secret.
UNREADABLE = {"app secret", "keyring", "app id and secret", "tokens", "inspection", "drift", "redirect URI", "scopes"}


def examined(stage, **environment):
    _, report, said = operate(stage, "doctor", **environment)
    expect("doctor looks", "checks" in report, said)
    return {finding["check"]: finding["level"] for finding in report["checks"] if finding["check"] not in JUDGED_OTHERWISE}
