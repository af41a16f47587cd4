"""First deployments that fail, and a service that is deleted: the data stays."""

import subprocess

import botocore.exceptions

from .deployment import data_of, for_the_emulator, ids_of, parameters, refusal, sam, sam_deploy, vend
from .stage import REGION, STACK, client, expect, until


def without_data(stage):
    """Without the data's outputs, or with two of them mixed up, the service is refused before anything is made."""
    template, _ = for_the_emulator(stage)
    known = parameters(stage)
    done = sam(stage, template, STACK, **{name: value for name, value in known.items() if name not in stage.data})
    expect("values are asked for", done.returncode != 0 and "GrantsTableName" in done.stderr, done.stderr)
    done = sam(stage, template, STACK, **known | {"DataKeyArn": known["DataKeyArn"].replace(":key/", ":alias/")})
    expect("an alias is refused", done.returncode != 0 and "DataKeyArn" in done.stderr, done.stderr)
    expect("nothing was made", not made(STACK), made(STACK))


def a_name_that_is_taken(stage):
    """The first deployment of the service meets an event bus of its name: nothing of it stays, and the data is untouched."""
    before = ids_of(data_of(STACK))
    client("events").create_event_bus(Name=STACK)
    template, _ = for_the_emulator(stage)
    done = sam(stage, template, STACK, **parameters(stage))
    expect("it failed", done.returncode != 0 and "EventBus" in done.stdout, done.stdout[-3000:] + done.stderr)
    cloudformation = client("cloudformation")
    status = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]["StackStatus"]
    expect("it was rolled back", status == "ROLLBACK_COMPLETE", status)
    cloudformation.delete_stack(StackName=STACK)
    until("it is gone", lambda: not made(STACK))
    client("events").delete_event_bus(Name=STACK)
    expect("the data is what it was", ids_of(data_of(STACK)) == before, before)
    present(stage)


def deleted(stage):
    """`sam delete` of the service leaves the data and what is in it; a new deployment hands out Ada's token."""
    iam, policy = client("iam"), stage.outputs["UseTokensPolicyArn"]
    # Attached to a backend, a policy cannot be deleted.
    iam.detach_user_policy(UserName="tokens", PolicyArn=policy)
    iam.detach_user_policy(UserName="sessions", PolicyArn=stage.outputs["StartSessionsPolicyArn"])
    command = [stage.sam, "delete", "--stack-name", STACK, "--region", REGION, "--no-prompts", "--s3-bucket", STACK]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    expect("sam delete", done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:])
    expect("the service is gone", not made(STACK), made(STACK))
    present(stage)
    sam_deploy(stage, LogLevel="TRACE")
    iam.attach_user_policy(UserName="tokens", PolicyArn=stage.outputs["UseTokensPolicyArn"])
    vend(stage)


def made(stack):
    """The resources of a stack, if there is one."""
    try:
        found = client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
    except botocore.exceptions.ClientError:
        return []
    return [] if found[0]["StackStatus"] in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS") else list(ids_of(stack)) or [found[0]["StackStatus"]]


def present(stage):
    """Tables, key and secrets are there."""
    dynamodb, secrets, kms = client("dynamodb"), client("secretsmanager"), client("kms")
    for name in ("GrantsTableName", "ShortLivedTableName"):
        dynamodb.describe_table(TableName=stage.data[name])
    for name in ("AppSecretArn", "KeyringSecretArn"):
        expect(f"{name} is there", "DeletedDate" not in secrets.describe_secret(SecretId=stage.data[name]))
    state = kms.describe_key(KeyId=stage.data["DataKeyArn"])["KeyMetadata"]["KeyState"]
    expect("the key can be used", state == "Enabled", state)
    refused = refusal(lambda: dynamodb.delete_table(TableName=stage.data["GrantsTableName"]))
    expect("the grants are protected", "rotect" in refused, refused)
