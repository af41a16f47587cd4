"""First deployments that fail, and a service that is deleted: the data stays."""

import botocore.exceptions

from .backends import backend
from .deployment import data_of, for_the_emulator, ids_of, parameters, refusal, sam, sam_deploy, vend
from .stage import STACK, client, expect, until


def without_data(stage):
    """Without the data's outputs, or with two of them mixed up, the service is refused before
    anything is made."""
    template, _ = for_the_emulator(stage)
    known = parameters(stage)
    done = sam(stage, template, STACK, **{name: value for name, value in known.items() if name not in stage.data})
    expect("values are asked for", done.returncode != 0 and "GrantsTableName" in done.stderr, done.stderr)
    done = sam(stage, template, STACK, **known | {"DataKeyArn": known["DataKeyArn"].replace(":key/", ":alias/")})
    expect("an alias is refused", done.returncode != 0 and "DataKeyArn" in done.stderr, done.stderr)
    expect("nothing was made", not made(STACK), made(STACK))


def a_name_that_is_taken(stage):
    """The first deployment of the service meets an event bus of its name: nothing of it stays, and
    the data is untouched."""
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
    """The service's stack is deleted, the data and what is in it stays, and a new deployment hands
    out Ada's token."""
    client("cloudformation").delete_stack(StackName=STACK)
    until("the service is gone", lambda: not made(STACK))
    present(stage)
    sam_deploy(stage, LogLevel="TRACE")
    # The API is another one, and backends' roles are of one API.
    stage.tokens = backend(stage, "tokens-again", "Read", "Vend", "Manage")
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
