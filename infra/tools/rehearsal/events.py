"""The events that an app hears on the stack's bus."""

import json

from .stage import client, expect, until


def listen(stage):
    """A rule on the bus, and a queue behind it, as an app would have them."""
    queue = client("sqs").create_queue(QueueName="rehearsal")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    rule = {"Name": "rehearsal", "EventBusName": stage.outputs["EventBusName"]}
    made = client("events").put_rule(**rule, EventPattern=json.dumps({"source": ["threads-auth"]}))["RuleArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": made}},
            }
        ],
    }
    client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    client("events").put_targets(Rule="rehearsal", EventBusName=rule["EventBusName"], Targets=[{"Id": "queue", "Arn": arn}])
    stage.queue, stage.events = queue, []


def arrive(stage):
    """Everything that happened was announced on the bus, from the table's stream, and no event
    holds a secret."""
    expected = {
        ("account.connected", stage.ada),
        ("account.refreshed", stage.ada),
        ("account.connected", stage.linus),
        ("account.claimed", stage.linus),
        ("account.disconnected", stage.linus),
        ("account.deleted", stage.linus),
        ("account.connected", stage.grace),
        ("account.disconnected", stage.grace),
        ("account.deleted", stage.grace),
    }

    def all_there():
        got = client("sqs").receive_message(QueueUrl=stage.queue, MaxNumberOfMessages=10)
        for message in got.get("Messages", []):
            stage.events.append(json.loads(message["Body"]))
            client("sqs").delete_message(QueueUrl=stage.queue, ReceiptHandle=message["ReceiptHandle"])
        return expected <= {(event["detail-type"], event["detail"]["user_id"]) for event in stage.events}

    until(f"the events {expected}", all_there)
    text = json.dumps(stage.events)
    expect("no secret in an event", not any(canary in text for canary in stage.canaries))
    ids = [event["detail"]["id"] for event in stage.events]
    return f"{len(ids)} events, {len(set(ids))} different ones"
