"""Events that are given up go into a queue, and come back from it."""

import base64
import json
import time

from .operators import operate
from .stage import client, expect, until


def unconfigured(stage):
    """A sweep of a stack that nobody has configured is no failure, and leaves no dead letter."""
    code, report, said = operate(stage, "sweep", "--invoke")
    expect("it says so", code == 1 and report["stopped"] == "unconfigured", (code, report, said))
    code, report, said = operate(stage, "dead-letters", "show")
    expect("no letters", code == 0 and report == {"letters": [], "hidden": 0}, (code, report, said))


def lambdas(value):
    """An attribute as Lambda hands it on."""
    return {kind: base64.b64encode(inner).decode() if isinstance(inner, bytes) else inner for kind, inner in value.items()}


def given_up(stage):
    """An event that the bus has not taken for an hour is a dead letter that holds all of it;
    `dead-letters replay` puts it on the bus."""
    # An account that is claimed already would be two events.
    claim = ("reference", "claimed_at")
    image = {name: lambdas(value) for name, value in stage.row(stage.ada).items() if name not in claim}
    change = {"ApproximateCreationDateTime": int(time.time()) - 3_601, "Keys": {"pk": image["pk"]}, "NewImage": image, "SequenceNumber": "1"}
    batch = {"Records": [{"eventID": "rehearsal", "eventName": "INSERT", "dynamodb": change}]}
    iam, role = client("iam"), stage.ids["EventsRole"]
    kept = iam.get_role_policy(RoleName=role, PolicyName="events")["PolicyDocument"]
    without = {**kept, "Statement": [one for one in kept["Statement"] if one["Action"] != "events:PutEvents"]}
    iam.put_role_policy(RoleName=role, PolicyName="events", PolicyDocument=json.dumps(without))
    answer = client("lambda").invoke(FunctionName=stage.outputs["EventsFunctionName"], Payload=json.dumps(batch))
    answer = json.loads(answer["Payload"].read())
    iam.put_role_policy(RoleName=role, PolicyName="events", PolicyDocument=json.dumps(kept))
    expect("the record is done", answer == {"batchItemFailures": []}, answer)
    code, report, said = operate(stage, "dead-letters", "show")
    letters = report.get("letters", [])
    expect("one letter", code == 0 and len(letters) == 1, (code, report, said))
    expect("whose it is", letters[0]["user_ids"] == [stage.ada] and letters[0]["by"] == "events", letters)
    code, report, said = operate(stage, "dead-letters", "replay")
    expect("replayed", code == 0 and report["letters"][0]["outcome"] == "replayed", (code, report, said))
    event_id = letters[0]["event_id"]

    def is_there():
        got = client("sqs").receive_message(QueueUrl=stage.queue, MaxNumberOfMessages=10)
        for message in got.get("Messages", []):
            stage.events.append(json.loads(message["Body"]))
            client("sqs").delete_message(QueueUrl=stage.queue, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in stage.events if event["detail"]["id"] == event_id]

    until("the event", is_there)
    return event_id


def purged(stage):
    """`dead-letters purge` drops what is of no use, in the queue that it is told."""
    client("sqs").send_message(QueueUrl=stage.outputs["SweepDeadLettersUrl"], MessageBody="{}")
    code, report, said = operate(stage, "dead-letters", "purge", "--queue", "sweep", "--yes")
    expect("one is gone", code == 0 and report == {"purged": {"sweep": 1}}, (code, report, said))
    code, report, said = operate(stage, "dead-letters", "show")
    expect("no letters", code == 0 and report == {"letters": [], "hidden": 0}, (code, report, said))
