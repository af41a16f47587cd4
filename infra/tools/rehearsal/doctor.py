"""The drills of `threads-auth doctor`: one fault after another, which it must name, and must no
longer find after the repair."""

import base64
import http.server
import json
import os
import subprocess
import threading
import time

from .deployment import data_of
from .operators import operate, operator
from .stage import DOMAIN, ENDPOINT, STACK, call, client, expect


class Front(http.server.ThreadingHTTPServer):
    """Stands before the emulator, which has neither DNS nor TLS: it is our name, on plain HTTP, and
    CloudFormation names it in its place."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FrontHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        # Replacements in CloudFormation's answers, the requested name, and AWS's clock error in
        # seconds.
        self.puts, self.host, self.ahead = {f"https://{DOMAIN}": self.url}, DOMAIN, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class FrontHandler(http.server.BaseHTTPRequestHandler):
    def do(self):
        front, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # A signature is of the host that was asked.
        host = self.headers["Host"] if "Authorization" in self.headers else front.host
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "content-length")}
        # The emulator finds no stack by what is in it.
        if b"Action=DescribeStackResources&" in body:
            body += f"&StackName={data_of(STACK)}".encode()
        answer = call(host, ENDPOINT.port, self.command, self.path, headers, body)
        text = answer.body
        for old, new in front.puts.items():
            text = text.replace(old, new)
        self.send_response_only(answer.status)
        self.send_header("Date", self.date_time_string(time.time() + front.ahead))
        self.send_header("Content-Type", answer.headers.get("content-type", ""))
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do

    def log_message(self, *_):
        pass


def examine(stage, what, wrong, *arguments, **environment):
    """Runs doctor, expects these checks to be as `wrong` has them and all others ok, and returns
    its report."""
    code, report, said = operate(stage, "doctor", *arguments, **environment)
    expect(f"doctor looks, {what}", "checks" in report, said)
    findings = {finding["check"]: finding for finding in report["checks"]}
    levels = {check: finding["level"] for check, finding in findings.items() if finding["level"] != "ok"}
    expect(f"what doctor finds, {what}", levels == wrong, json.dumps(report, indent=1))
    expect(f"what to do about it, {what}", all(findings[check].get("next") for check in wrong), report)
    expect(f"its exit code, {what}", code == int("fail" in levels.values()) and report["ok"] == (code == 0), code)
    return findings


def left_out(stage):
    """Settings of the table that the emulator's CloudFormation leaves out."""
    dynamodb, table = client("dynamodb"), stage.outputs["GrantsTableName"]
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True})
    key = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": stage.outputs["DataKeyArn"]}
    dynamodb.update_table(TableName=table, SSESpecification=key)


def drills(stage):
    """`threads-auth doctor` finds nothing wrong; then each of these is broken, found, and
    repaired."""
    left_out(stage)
    alone = examine(stage, "without DNS", {"public address": "fail", "clock": "warn", "alarms": "warn", "stack protection": "warn"})
    expect("the name", f"https://{DOMAIN}/connected does not answer" in alone["public address"]["detail"], alone)
    expect("fresh alarms", "without data yet" in alone["alarms"]["detail"], alone)
    alarms = client("cloudwatch")
    names = [alarm["AlarmName"] for alarm in alarms.describe_alarms(AlarmNamePrefix=f"{STACK}-")["MetricAlarms"]]
    rings = lambda state: alarms.set_alarm_state(AlarmName=f"{STACK}-sweep-missed", StateValue=state, StateReason="rehearsed")
    for name in names:
        alarms.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="rehearsed")
    front = Front()
    stage.behind = {"AWS_ENDPOINT_URL_CLOUDFORMATION": front.url}
    everything = {"stack", "app secret", "keyring", "app id and secret", "scopes", "tokens", "sessions", "public address"}
    everything |= {"clock", "redirect URI", "schedule", "alarms", "key policy", "inspection", "drift", "pause", "version", "backups"}
    everything |= {"table stream", "table protection", "table encryption", "table indexes", "data key", "stack protection"}
    everything |= {"events mapping", "event bus", "dead letters"}
    well = examine(stage, "when all is well", {}, **stage.behind)
    expect("all checks", set(well) == everything, set(well) ^ everything)

    count = 0
    for what, check, word, broken, repaired in faults(stage, front, names, rings):
        broken()
        wrong = check if isinstance(check, dict) else {check: "fail"}
        found = examine(stage, what, wrong, **stage.behind)
        expect(f"doctor's words, {what}", word in json.dumps(found), found)
        repaired()
        examine(stage, f"after {what}", {}, **stage.behind)
        count += 1
    return f"{len(everything)} checks, {count} faults"


def faults(stage, front, alarms, rings):
    """What, which check, a word of what it says, how to break it and how to repair it."""
    secrets, scheduler, kms = client("secretsmanager"), client("scheduler"), client("kms")
    put = lambda output, value: lambda: secrets.put_secret_value(SecretId=stage.outputs[output], SecretString=value)
    app = json.loads(stage.app)
    keyring = secrets.get_secret_value(SecretId=stage.outputs["KeyringSecretArn"])["SecretString"]
    other = json.loads(keyring)
    other["keys"] = {key: base64.b64encode(os.urandom(32)).decode() for key in other["keys"]}
    wrong_secret = json.dumps({**app, "app_secret": "0" * 32})
    wrong_id = json.dumps({**app, "app_id": "1" * 16})
    refused = {"app id and secret": "fail", "inspection": "warn"}
    yield "another app secret", refused, "Meta does not accept them", put("AppSecretArn", wrong_secret), put("AppSecretArn", stage.app)
    all_of_it = {"app id and secret": "fail", "redirect URI": "fail", "tokens": "fail", "inspection": "warn"}
    yield "another app id", all_of_it, "not the plain", put("AppSecretArn", wrong_id), put("AppSecretArn", stage.app)
    closed = {"keyring": "fail", "tokens": "warn", "inspection": "warn"}
    yield "an empty keyring", closed, "do NOT create another", put("KeyringSecretArn", "{}"), put("KeyringSecretArn", keyring)
    sealed = {"tokens": "fail", "inspection": "warn"}
    yield "another keyring", sealed, "1 of 1 do not open", put("KeyringSecretArn", json.dumps(other)), put("KeyringSecretArn", keyring)

    group, name = stage.outputs["ScheduleName"].split("/")
    kept = scheduler.get_schedule(GroupName=group, Name=name)
    keys = ("ScheduleExpression", "FlexibleTimeWindow", "Target")
    kept = {"GroupName": group, "Name": name, **{key: kept[key] for key in keys}}
    turn = lambda state: lambda: scheduler.update_schedule(**kept, State=state)
    yield "a schedule that is off", "schedule", "is switched off", turn("DISABLED"), turn("ENABLED")
    make = lambda: scheduler.create_schedule(**kept, State="ENABLED")
    yield "no schedule", "schedule", "it does not exist", lambda: scheduler.delete_schedule(GroupName=group, Name=name), make

    yield "an alarm that rings", "alarms", "ringing: sweep-missed", lambda: rings("ALARM"), lambda: rings("OK")
    one = client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-sweep-missed"])["MetricAlarms"][0]
    settable = client("cloudwatch").meta.service_model.operation_model("PutMetricAlarm").input_shape.members
    one = {key: value for key, value in one.items() if key in settable}

    def make():
        client("cloudwatch").put_metric_alarm(**one)
        rings("OK")

    gone = lambda: client("cloudwatch").delete_alarms(AlarmNames=[one["AlarmName"]])
    yield "an alarm that is gone", "alarms", "gone: sweep-missed", gone, make

    key = stage.outputs["DataKeyArn"]
    policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
    anybody = {"Sid": "Anybody", "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}
    loose = {**policy, "Statement": [*policy["Statement"], anybody]}
    write = lambda policy: lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))
    yield "a loose key", "key policy", "directly: Anybody", write(loose), write(policy)

    yield from data_faults(stage)
    yield "a name that points elsewhere", "public address", "answers 40", lambda: setattr(front, "host", "elsewhere.test"), lambda: setattr(front, "host", DOMAIN)
    yield "a wrong clock", "clock", "behind AWS", lambda: setattr(front, "ahead", 600), lambda: setattr(front, "ahead", 0)

    # A stand-in for Threads in whose dashboard another redirect URI is.
    command = [stage.command, "sandbox", "--port", "0", "--json", "--redirect-uri", "https://elsewhere.test/callback"]
    strict = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        addresses = json.loads(strict.stdout.readline())
        ours = f"http://{stage.threads.netloc}/oauth/authorize"
        lists = lambda: front.puts.update({ours: addresses["authorize_url"]})
        yield "an address that Meta does not know", "redirect URI", "(1349168)", lists, lambda: front.puts.pop(ours)
    finally:
        strict.terminate()
        strict.communicate()


def data_faults(stage):
    """The same of what keeps the tokens, and tells the events."""
    dynamodb, kms, sqs, functions = client("dynamodb"), client("kms"), client("sqs"), client("lambda")
    table, key = stage.outputs["GrantsTableName"], stage.outputs["DataKeyArn"]
    guard = lambda on: lambda: dynamodb.update_table(TableName=table, DeletionProtectionEnabled=on)
    yield "a table without protection", "table protection", "one call deletes every token", guard(False), guard(True)
    recovery = lambda on: lambda: dynamodb.update_continuous_backups(
        TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": on}
    )
    yield "a table without backups", "backups", "point-in-time recovery is off", recovery(False), recovery(True)
    cancel = lambda: (kms.cancel_key_deletion(KeyId=key), kms.enable_key(KeyId=key))
    deletes = lambda: kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=30)
    yield "a key that is deleted", "data key", "cancel-key-deletion", deletes, cancel
    yield "a key that is disabled", "data key", "enable-key", lambda: kms.disable_key(KeyId=key), lambda: kms.enable_key(KeyId=key)
    mapping = stage.ids["EventsMapping"]
    enable = lambda on: lambda: functions.update_event_source_mapping(UUID=mapping, Enabled=on)
    yield "a mapping that is off", "events mapping", "update-event-source-mapping --enabled", enable(False), enable(True)
    queue = stage.ids["SweepDeadLetters"]
    letter = lambda: sqs.send_message(QueueUrl=queue, MessageBody="rehearsed")
    yield "a letter", "dead letters", "1 in ", letter, lambda: sqs.purge_queue(QueueUrl=queue)
    protect = lambda on: lambda: client("cloudformation").update_termination_protection(
        StackName=data_of(STACK), EnableTerminationProtection=on
    )
    yield "a stack that can be deleted", {"stack protection": "warn"}, "update-termination-protection", protect(False), protect(True)


def without_permissions(stage):
    """Each thing that an operator's credentials may not read is a warning that names the
    permission, and none of it is called wrong."""
    denied = dict.fromkeys(("app secret", "keyring", "app id and secret", "tokens", "sessions", "redirect URI", "schedule", "alarms", "key policy", "inspection", "drift", "pause"), "warn")
    denied |= dict.fromkeys(("table stream", "table protection", "table encryption", "table indexes", "backups", "data key", "stack protection"), "warn")
    denied |= dict.fromkeys(("events mapping", "event bus", "dead letters"), "warn")
    nobody = operator(stage, "nobody")
    found = examine(stage, "without permissions", denied, **stage.behind, **nobody)
    named = [("app secret", "secretsmanager:GetSecretValue"), ("schedule", "scheduler:GetSchedule"), ("key policy", "kms:GetKeyPolicy")]
    for check, permission in named:
        expect(f"{permission} is named", permission in found[check]["next"], found)
    stage.nobody = nobody
