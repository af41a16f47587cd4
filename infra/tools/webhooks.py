"""Rules on the delivery of events by HTTP, from the bus to the function and back to its queue. Each
looks at the transformed template, and gives a list of problems."""

import json
import re

from limits import LAMBDA_QUEUE, SQS_QUEUE, limited
from wiring import INFRA, of_type

# The function says how long an event is tried, and after which waits.
WAITS = INFRA.parent / "functions/webhook/src/wait.rs"

PREFIX = "Webhook"
NEEDED = {"Fn::Not": [{"Fn::Equals": [{"Ref": "WebhookUrl"}, ""]}]}

GIVEN = {"SecretStringTemplate": "{}", "GenerateStringKey": "secret", "PasswordLength": 44, "ExcludePunctuation": True}


def of(template, name):
    """A resource's properties, or none if it is not there."""
    return template["Resources"].get(name, {}).get("Properties", {})


def readers_of_queues(template):
    """Each mapping of a queue: its name, its properties, and those of its function."""
    for name, resource in of_type(template, "AWS::Lambda::EventSourceMapping").items():
        mapping = resource["Properties"]
        source = mapping.get("EventSourceArn", {})
        queue = source.get("Fn::GetAtt", [None])[0] if isinstance(source, dict) else None
        if queue in of_type(template, "AWS::SQS::Queue"):
            yield name, mapping, of(template, mapping["FunctionName"]["Ref"])


def arn(name):
    return {"Fn::GetAtt": [name, "Arn"]}


def webhooks_are_made_on_demand_alone(template):
    """Without a URL nothing of it exists or costs, and by itself there is none."""
    problems = []
    if template["Conditions"].get("HasWebhook") != NEEDED or template["Parameters"]["WebhookUrl"]["Default"] != "":
        problems.append("webhooks come without a URL, or not with it")
    for section in ("Resources", "Outputs"):
        problems += [
            f"{name} is {'not ' if name.startswith(PREFIX) else ''}made with WebhookUrl alone"
            for name, entry in template[section].items()
            if name.startswith(PREFIX) != (entry.get("Condition") == "HasWebhook")
        ]
    return problems


def every_event_of_ours_is_posted_as_it_is(template):
    """From the bus to the queue, from there to the function; the body is the event, and what
    EventBridge cannot hand over is kept as well."""
    rule, mapping = of(template, "WebhookRule"), of(template, "WebhookMapping")
    targets = [(one["Arn"], one.get("InputPath"), one.get("DeadLetterConfig")) for one in rule.get("Targets", [])]
    target = (arn("WebhookQueue"), "$.detail", {"Arn": arn("WebhookDeadLetters")})
    expected = {
        "the rule's bus": (rule.get("EventBusName"), {"Ref": "EventBus"}),
        "the rule's events": (rule.get("EventPattern"), {"source": ["threads-auth"]}),
        "the rule's state": (rule.get("State", "ENABLED"), "ENABLED"),
        "the rule's target": (targets, [target]),
        "the mapping's queue": (mapping.get("EventSourceArn"), arn("WebhookQueue")),
        "the mapping's function": (mapping.get("FunctionName"), {"Ref": "WebhookFunction"}),
        "the mapping's answer": (mapping.get("FunctionResponseTypes"), ["ReportBatchItemFailures"]),
        "the mapping's state": (mapping.get("Enabled", True), True),
    }
    return [f"{what} is {found}" for what, (found, wanted) in expected.items() if found != wanted]


def the_function_knows_its_receiver_and_queues(template):
    variables = of(template, "WebhookFunction").get("Environment", {}).get("Variables", {})
    expected = {
        "WEBHOOK_URL": {"Ref": "WebhookUrl"},
        "WEBHOOK_SECRET_ID": {"Fn::GetAtt": ["WebhookSecret", "Id"]},
        "WEBHOOK_QUEUE": {"Ref": "WebhookQueue"},
        "WEBHOOK_DEAD_LETTERS": {"Ref": "WebhookDeadLetters"},
    }
    problems = [f"{name} is {variables.get(name)}" for name, value in expected.items() if variables.get(name) != value]
    problems += [
        f"{other} has {name}"
        for other, function in of_type(template, "AWS::Lambda::Function").items()
        for name in function["Properties"].get("Environment", {}).get("Variables", {})
        if name.startswith("WEBHOOK_") and other != "WebhookFunction"
    ]
    return problems


def the_queues_take_from_the_rule_alone(template):
    """A message that somebody else puts there would be posted in our name."""
    problems = []
    for queue in ("WebhookQueue", "WebhookDeadLetters"):
        policies = [
            policy["Properties"]["PolicyDocument"]["Statement"]
            for policy in of_type(template, "AWS::SQS::QueuePolicy").values()
            if {"Ref": queue} in policy["Properties"]["Queues"]
        ]
        wanted = {
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn(queue),
            "Condition": {"ArnEquals": {"aws:SourceArn": arn("WebhookRule")}},
        }
        if policies != [[wanted]]:
            problems.append(f"{queue} takes {policies}")
    known = {"WebhookQueue", "WebhookDeadLetters"}
    problems += [
        f"{name} opens {queue}"
        for name, policy in of_type(template, "AWS::SQS::QueuePolicy").items()
        for queue in policy["Properties"]["Queues"]
        if queue.get("Ref") not in known
    ]
    return problems


def undelivered_events_outlast_an_outage(template):
    """The function gives up by age, and says why in its letter; the queue's own limit is for an
    event that ends the function each time, and is not reached before. Nothing expires meanwhile."""
    hours = re.search(r"TRIED_FOR: SignedDuration = SignedDuration::from_hours\((\d+)\)", WAITS.read_text())
    waits = re.findall(r"Duration::from_(secs|mins|hours)\((\d+)\),$", WAITS.read_text(), re.MULTILINE)
    if hours is None or not waits:
        return ["the function does not say how long it tries"]
    seconds = [{"secs": 1, "mins": 60, "hours": 3_600}[unit] * int(count) for unit, count in waits]
    tried = int(hours[1]) * 3_600
    attempts = len(seconds) + (tried - sum(seconds)) // seconds[-1] + 1
    queue, problems = of(template, "WebhookQueue"), []
    redrive = queue.get("RedrivePolicy", {})
    if redrive.get("deadLetterTargetArn") != arn("WebhookDeadLetters"):
        problems.append(f"what ends the function goes to {redrive.get('deadLetterTargetArn')}")
    if int(redrive.get("maxReceiveCount", 0)) < 2 * attempts:
        problems.append(f"an event is received {redrive.get('maxReceiveCount')} times, and tried {attempts}")
    if int(queue.get("MessageRetentionPeriod", 345_600)) < 2 * tried:
        problems.append(f"an event is tried for {tried} s, and kept for {queue.get('MessageRetentionPeriod')} s")
    return problems


def the_webhooks_secret_is_made_and_read_by_one(template):
    """CloudFormation makes it in the form that a receiver's library takes, nobody writes it into a
    template or a variable, and one role reads it."""
    secret = template["Resources"].get("WebhookSecret", {"Properties": {}})
    properties, problems = secret["Properties"], []
    if properties.get("GenerateSecretString") != GIVEN or "SecretString" in properties:
        problems.append(f"the secret is made as {properties.get('GenerateSecretString')}")
    if properties.get("KmsKeyId") != {"Ref": "DataKeyArn"}:
        problems.append("the secret is under another key")
    if "resolve:secretsmanager:${Webhook" in json.dumps(template):
        problems.append("the secret stands in what CloudFormation makes")
    readers = [
        name
        for name, resource in template["Resources"].items()
        if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy") and '"WebhookSecret"' in json.dumps(resource)
    ]
    return problems + [f"{name} reads it" for name in readers if name != "WebhookRole"]


@limited("hidden for as long as the function may run at least, six times as long as advised; 10 messages a batch", f"{LAMBDA_QUEUE} and {SQS_QUEUE}")
def queues_hide_what_is_worked_at(template):
    problems = []
    for name, mapping, function in readers_of_queues(template):
        queue = mapping["EventSourceArn"]["Fn::GetAtt"][0]
        hidden = int(of(template, queue).get("VisibilityTimeout", 30))
        if hidden < 6 * function["Timeout"]:
            problems.append(f"{queue} hides a message for {hidden} s, and its function may run for {function['Timeout']} s")
        if int(mapping.get("BatchSize", 10)) > 10 and not mapping.get("MaximumBatchingWindowInSeconds"):
            problems.append(f"{name} asks for more than ten messages at once")
    return problems


@limited("not more at once than the function may: what is throttled counts as received", LAMBDA_QUEUE)
def a_queue_is_read_by_few(template):
    """A receiver that is slow is not flooded, and nothing becomes a dead letter unseen."""
    problems = []
    for name, mapping, function in readers_of_queues(template):
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        share = function.get("ReservedConcurrentExecutions", {}).get("Fn::If", [None, 0])[1]
        if most is None or not 2 <= int(most) <= 5 or int(most) > int(share):
            problems.append(f"{name} is read by {most}, and its function has {share} at most")
    return problems


RULES = [
    webhooks_are_made_on_demand_alone,
    every_event_of_ours_is_posted_as_it_is,
    the_function_knows_its_receiver_and_queues,
    the_queues_take_from_the_rule_alone,
    undelivered_events_outlast_an_outage,
    the_webhooks_secret_is_made_and_read_by_one,
]
