"""An operator with our command, and others who may do less."""

import json
import os
import subprocess

from .stage import REGION, STACK, client, expect


def operate(stage, *arguments, stack=STACK, **environment):
    """Our command on the stack, as an operator types it: its exit code, its JSON, and what it says beside."""
    command = [stage.command, *arguments, "--stack", stack, "--region", REGION, "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    secret = [canary for canary in stage.canaries if canary in done.stdout + done.stderr]
    expect(f"{arguments} says no secret", not secret, f"{len(secret)} were said")
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def operator(stage, name, *allowed):
    """The environment of somebody who may do this and nothing else."""
    iam, kept = client("iam"), {"Effect": "Allow", "Action": "cloudformation:DescribeStacks", "Resource": "*"}
    statements = [kept, *({"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed)]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    stage.canaries.append(key["SecretAccessKey"])
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
