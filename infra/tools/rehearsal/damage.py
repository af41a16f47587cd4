"""The drills of what a bad day leaves: rows of no use, a keyring that was overwritten, secrets that
were deleted. Each is found by `threads-auth doctor` and mended by `threads-auth restore` or
`restore-secret`."""

import json

from .doctor import examine
from .operators import operate
from .stage import client, expect, until


def spoilt_rows(stage):
    """Ada's row is spoilt: `restore` names her and leaves the row, and with `--replace-unreadable`
    it is the backup's again."""
    dynamodb, table = client("dynamodb"), stage.outputs["GrantsTableName"]
    copy = f"{table}-restored"
    dynamodb.restore_table_to_point_in_time(SourceTableName=table, TargetTableName=copy, UseLatestRestorableTime=True)
    until("the restored table", lambda: dynamodb.describe_table(TableName=copy)["Table"]["TableStatus"] == "ACTIVE")
    row = stage.row(stage.ada)
    spoil = {"UpdateExpression": "SET issued_at = :no", "ExpressionAttributeValues": {":no": {"BOOL": True}}}
    dynamodb.update_item(TableName=table, Key={"pk": row["pk"]}, **spoil)
    found = examine(stage, "with a spoilt row", {"tokens": "fail"}, **stage.behind)
    expect("the row is named", stage.ada in found["tokens"]["detail"], found["tokens"])
    code, report, said = operate(stage, "restore", "--from", copy, "--yes")
    left = report.get("left", [])
    expect("she is named", code == 1 and [one["user_id"] for one in left] == [stage.ada], (code, report, said))
    expect("the next step", "--replace-unreadable" in left[0]["next"], left)
    expect("nothing was changed", "BOOL" in stage.row(stage.ada)["issued_at"])
    code, report, said = operate(stage, "restore", "--from", copy, "--replace-unreadable", "--yes")
    expect("her row is replaced", code == 0 and report["replaced"] == 1 and not report["left"], (code, report, said))
    expect("by the backup's", stage.row(stage.ada)["token"] == row["token"])
    examine(stage, "after a spoilt row", {}, **stage.behind)
    code, report, said = operate(stage, "restore", "--from", copy, "--user", stage.ada, "--yes")
    expect("she alone", code == 0 and report["replaced"][0]["user_id"] == stage.ada, (code, report, said))
    examine(stage, "after her row was replaced once more", {}, **stage.behind)
    dynamodb.delete_table(TableName=copy)


def lost_keys(stage):
    """The keyring is overwritten by the one before a rotation, and then it is deleted:
    `restore-secret` brings back the key, and the secret."""
    secrets, secret = client("secretsmanager"), stage.outputs["KeyringSecretArn"]
    before = secrets.get_secret_value(SecretId=secret)["SecretString"]
    code, report, said = operate(stage, "keyring", "rotate", "--wait", "0", "--key-id", "drilled")
    expect("rotated", code == 0 and report["resealed"]["unopened"] == 0, (code, report, said))
    keyring = lambda: json.loads(secrets.get_secret_value(SecretId=secret)["SecretString"])
    stage.canaries += keyring()["keys"].values()
    secrets.put_secret_value(SecretId=secret, SecretString=before)
    examine(stage, "with a lost key", {"tokens": "fail", "inspection": "warn"}, **stage.behind)
    code, report, said = operate(stage, "restore-secret", "show")
    current = [one for one in report["keyring"]["versions"] if "AWSCURRENT" in one["labels"]]
    expect("it opens nothing", code == 1 and current[0]["opens"] == 0, (code, report, said))
    code, report, said = operate(stage, "restore-secret", "keyring", "--yes")
    expect("the key is back", code == 0 and report["put_back"] == ["drilled"], (code, report, said))
    kept = {*json.loads(before)["keys"], "drilled"}
    expect("no key has gone for it", set(keyring()["keys"]) == kept, kept)
    examine(stage, "after a lost key", {}, **stage.behind)
    for name, output in (("app", "AppSecretArn"), ("keyring", "KeyringSecretArn")):
        secrets.delete_secret(SecretId=stage.outputs[output], RecoveryWindowInDays=30)
        code, report, said = operate(stage, "restore-secret", name, "--yes")
        expect(f"the {name} secret is back", code == 0 and report["undeleted"], (code, report, said))
    examine(stage, "after deleted secrets", {}, **stage.behind)


def test_alarm(stage):
    """`threads-auth doctor --test-alarm` lets an alarm ring and sets it back; the emulator keeps
    its history, and sends nothing."""
    found = examine(stage, "with a test of the alarms", {}, "--test-alarm", **stage.behind)
    detail = found["test alarm"]["detail"]
    expect("whom to ask", "the subscribers of alarms get a message" in detail, detail)
    name = detail.split(" ")[0]
    alarm = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
    expect("it is quiet again, and says why", alarm["StateValue"] == "OK" and "TEST" in alarm["StateReason"], alarm)
