"""Metrics, logs and dead letters, as all other steps have left them."""

import json

from .stage import client, expect


def messages():
    """Every line of every log."""
    logs = client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            for event in page["events"]:
                yield group["logGroupName"], event["message"]


def metrics(stage):
    """The functions print every metric that an alarm of the template reads, under the alarm's own
    name, dimensions and service."""
    printed = set()
    for _, message in messages():
        if message.startswith("{") and "_aws" in (line := json.loads(message)):
            for directive in line["_aws"]["CloudWatchMetrics"]:
                for dimensions in directive["Dimensions"]:
                    values = tuple((name, line[name]) for name in dimensions)
                    printed |= {(directive["Namespace"], metric["Name"], values) for metric in directive["Metrics"]}
    read = {
        (alarm["Namespace"], alarm["MetricName"], tuple((d["Name"], d["Value"]) for d in alarm["Dimensions"]))
        for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]
        if alarm["Namespace"] == "ThreadsAuth"
    }
    # No stored token has failed to open here, there is no inspector to look for drift with, each
    # secret could be read again in time, and Meta has refused no app.
    unseen = {"DecryptFailures", "Drift", "SecretAgeSeconds"}
    missing = {metric for metric in read - printed if metric[1] not in unseen and ("Outcome", "misconfigured") not in metric[2]}
    expect("all metrics", read and not missing, (missing, printed))
    names = {name for _, name, _ in printed}
    expect("those of the dashboard too", names >= {"Connects", "Refreshes", "ColdStarts"}, names)
    return f"{len(printed)} metrics"


def logs(stage):
    """No secret, token, code or state is in any function's log, and nobody's id."""
    lines, found, people = 0, set(), {stage.ada, stage.linus, stage.grace}
    for _, message in messages():
        lines += 1
        found |= {canary for canary in stage.canaries if canary in message}
        expect("nobody's id in a line", not any(person in message for person in people), message)
    expect("lines", lines, "no logs were found at all")
    expect("no secret in the logs", not found, f"{len(found)} of {len(stage.canaries)} canaries were logged")
    return f"{lines} lines, {len(stage.canaries)} canaries"


def dead_letters(stage):
    """Nothing of all this was given up."""
    for name in ("SweepDeadLetters", "EventsDeadLetters"):
        attributes = client("sqs").get_queue_attributes(QueueUrl=stage.ids[name], AttributeNames=["ApproximateNumberOfMessages"])
        expect(f"{name} is empty", attributes["Attributes"]["ApproximateNumberOfMessages"] == "0", attributes)
