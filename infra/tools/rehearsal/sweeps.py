"""Tokens grow old, and a sweep refreshes them: by the schedule, and by hand."""

import json
import time

from .backends import signed
from .operators import operate, operator
from .people import connect
from .stage import DAY, DOMAIN, client, expect, until


def let_41_days_pass(stage):
    """For Ada's row, which is what it was."""
    row = stage.row(stage.ada)
    past = {name: {"N": str(int(row[name]["N"]) - 41 * DAY)} for name in ("issued_at", "due_at", "expires_at")}
    client("dynamodb").update_item(
        TableName=stage.outputs["GrantsTableName"],
        Key={"pk": row["pk"]},
        UpdateExpression="SET issued_at = :issued_at, due_at = :due_at, expires_at = :expires_at",
        ExpressionAttributeValues={f":{name}": value for name, value in past.items()},
    )
    stage.control("POST", "/clock", {"advance_seconds": 2 * DAY})
    return row


def sweep(stage):
    """41 days pass for Ada's row, and the emulated Scheduler invokes the function with the
    schedule's own target."""
    row = let_41_days_pass(stage)
    scheduler = client("scheduler")
    group, name = stage.outputs["ScheduleName"].split("/")
    schedule = scheduler.get_schedule(GroupName=group, Name=name)
    expect("a dead-letter queue", schedule["Target"]["DeadLetterConfig"]["Arn"], schedule["Target"])
    # The emulator counts rate(15 minutes) from the deployment, so the same target gets a schedule
    # for now.
    scheduler.create_schedule(
        Name="rehearsal",
        GroupName=group,
        ScheduleExpression=time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime()),
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={key: schedule["Target"][key] for key in ("Arn", "RoleArn", "Input")},
    )
    until("a refreshed token", lambda: "refreshed_at" in stage.row(stage.ada))
    after = stage.row(stage.ada)
    expect("another token", after["token"] != row["token"] and "previous_token" in after, after.keys())
    days = (int(after["due_at"]["N"]) - time.time()) / DAY
    expect("due again in weeks", 20 < days < 60, days)
    return f"due again in {days:.0f} days"


def sweep_by_hand(stage):
    """41 days pass twice more: `threads-auth sweep` refreshes Ada's token from here, and with
    `--invoke` whoever may do nothing but invoke."""
    function = client("lambda").get_function(FunctionName=stage.outputs["RefreshFunctionName"])["Configuration"]["FunctionArn"]
    invoker = operator(stage, "invoker", ("lambda:InvokeFunction", function))
    for arguments, environment in ((["sweep"], {}), (["sweep", "--invoke"], invoker)):
        row = let_41_days_pass(stage)
        code, report, said = operate(stage, *arguments, **environment)
        expect(f"{arguments} refreshes one", code == 0 and report["outcomes"] == {"refreshed": 1}, (code, report, said))
        expect("nothing is overdue", report["oldest_overdue_seconds"] == 0 and report["weakest_token_days"] > 50, report)
        expect("another token", stage.row(stage.ada)["token"] != row["token"])
        code, report, said = operate(stage, *arguments, "--budget", "60", **environment)
        expect(f"{arguments} finds no other", code == 0 and report["outcomes"] == {}, (code, report, said))
    code, _, said = operate(stage, "sweep", **invoker)
    expect("the invoker opens no secret", code == 1 and "AccessDenied" in said, (code, said))
    code, _, said = operate(stage, "sweep", "--invoke", **stage.nobody)
    expect("others may not invoke", code == 1 and "need lambda:InvokeFunction" in said, (code, said))
    # A sweep that fails as a whole.
    iam, role = client("iam"), stage.ids["RefreshRole"]
    kept = iam.get_role_policy(RoleName=role, PolicyName="refresh")["PolicyDocument"]
    iam.delete_role_policy(RoleName=role, PolicyName="refresh")
    code, report, said = operate(stage, "sweep", "--invoke", **invoker)
    expect("the function's failure", code == 1 and "could not read the due index" in said, (code, report, said))
    iam.put_role_policy(RoleName=role, PolicyName="refresh", PolicyDocument=json.dumps(kept))


def unclaimed(stage):
    """Nobody completes a session, and its time passes: the function of the schedule ends the
    account."""
    new = {"reference": "user-8", "return_to": "https://app.rehearsal.test/done"}
    session = signed(stage, stage.sessions, "POST", "/sessions", new).json()
    lured, _ = connect(stage, "lured", session["url"].removeprefix(f"https://{DOMAIN}"))
    row = stage.row(lured)
    expect("it is nobody's", "unclaimed_until" in row and "reference" not in row, row.keys())
    client("dynamodb").update_item(
        TableName=stage.outputs["GrantsTableName"],
        Key={"pk": row["pk"]},
        UpdateExpression="SET due_at = connected_at, unclaimed_until = connected_at",
    )
    code, report, said = operate(stage, "sweep", "--invoke")
    expect("it ends", code == 0 and report["outcomes"] == {"unclaimed": 1}, (code, report, said))
    after = stage.row(lured)
    expect("no token is left", "token" not in after and after["revoked_by"]["S"] == "unclaimed", after.keys())
