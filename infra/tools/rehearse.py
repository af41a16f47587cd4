"""A deployment rehearsed: the built functions and the template on an emulator of AWS that is not ours, against our sandbox of Threads.

Arguments: the folder of `sam build`'s result, the sandbox's line of JSON (`threads-auth dev --json`), `sam`, and our
command. AWS_ENDPOINT_URL is the emulator's, which enforces IAM: what a function's role does not allow fails here too. Prints each step as it passes.
"""

import base64
import hashlib
import hmac
import http.client
import http.server
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import samcli
from samcli.yamlhelper import yaml_dump, yaml_parse

import wiring

STACK = "threads-auth-rehearsal"
DOMAIN = "auth.rehearsal.test"
REGION = "us-east-1"
DAY = 86_400
# Guards against waiting for ever; nothing is measured by them.
PATIENCE = 120

ENDPOINT = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
if ENDPOINT.hostname != "127.0.0.1":
    sys.exit("AWS_ENDPOINT_URL must be an emulator on 127.0.0.1")


def client(service):
    return boto3.client(service, region_name=REGION)


class Response:
    def __init__(self, answer, body):
        self.status, self.body = answer.status, body
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]

    def json(self):
        return json.loads(self.body)


def call(host, port, method, target, headers=None, body=None):
    """One request to this machine, by whatever name; redirects are for the caller."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, target, body=body, headers={"Host": host, **(headers or {})})
    answer = connection.getresponse()
    response = Response(answer, answer.read().decode())
    connection.close()
    return response


def expect(what, condition, detail=""):
    if not condition:
        sys.exit(f"FAILED: {what}\n{detail}")


def until(what, get):
    """What `get` finally gives. The emulator delivers schedules and streams in its own time."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if found := get():
            return found
        time.sleep(0.2)
    sys.exit(f"FAILED: {what}: nothing came of it in {PATIENCE} s")


def listed(value):
    return value if isinstance(value, list) else [value]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


class Browser:
    """A cookie jar for the one site, which is on https as far as anybody here knows."""

    def __init__(self):
        self.jar = {}

    def get(self, target):
        cookies = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.jar.items())} if self.jar else {}
        response = call(DOMAIN, ENDPOINT.port, "GET", target, cookies)
        for cookie in response.cookies:
            pair, *attributes = [part.strip() for part in cookie.split(";")]
            name, _, value = pair.partition("=")
            self.jar[name] = value
            if any(attribute.lower() == "max-age=0" for attribute in attributes):
                del self.jar[name]
        return response


class Front(http.server.ThreadingHTTPServer):
    """Stands before the emulator, which has neither DNS nor TLS: it is our name, on plain HTTP, and CloudFormation names it in its place."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FrontHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        # What is put into CloudFormation's answers, the name that is asked for, and how far AWS's clock is off.
        self.puts, self.host, self.ahead = {f"https://{DOMAIN}": self.url}, DOMAIN, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class FrontHandler(http.server.BaseHTTPRequestHandler):
    def do(self):
        front, body = self.server, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # A signature is of the host that was asked.
        host = self.headers["Host"] if "Authorization" in self.headers else front.host
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
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


class Rehearsal:
    def __init__(self, build, sandbox, sam, command):
        self.build, self.sam, self.command = build, sam, command
        self.threads = urllib.parse.urlsplit(sandbox["threads_url"])
        # The sandbox's app, out of the development stack's own Secrets Manager.
        secrets = boto3.client(
            "secretsmanager",
            endpoint_url=sandbox["secrets_manager_url"],
            region_name=sandbox["region"],
            aws_access_key_id=sandbox["access_key_id"],
            aws_secret_access_key=sandbox["secret_access_key"],
        )
        self.app = secrets.get_secret_value(SecretId=sandbox["app_secret_id"])["SecretString"]
        self.canaries = [json.loads(self.app)["app_secret"]]

    def control(self, method, path, body=None):
        """The sandbox's control endpoint."""
        headers = {"Content-Type": "application/json"}
        answer = call(self.threads.netloc, self.threads.port, method, f"/control{path}", headers, body and json.dumps(body))
        expect(f"the sandbox's {path}", answer.status < 300, answer.body)
        return answer.json()

    # ---------------------------------------------------------------------------------------------------------- deployment

    def deploy(self):
        """`sam deploy`, as an operator would, with a domain and with Threads' address changed to the sandbox's."""
        client("s3").create_bucket(Bucket=STACK)
        self.alarm_topic = client("sns").create_topic(Name="alarms")["TopicArn"]
        simplified = self.sam_deploy("TRACE")
        urls = [self.outputs[name] for name in ("RedirectCallbackUrl", "UninstallCallbackUrl", "DeleteCallbackUrl")]
        expected = [f"https://{DOMAIN}/{path}" for path in ("callback", "deauthorize", "data-deletion")]
        expect("the three URLs for Meta's dashboard", urls == expected, urls)
        return f"{len(self.ids)} resources; the emulator knows no alarms on sums, so {simplified} look at one metric"

    def upgrade(self):
        """Another deployment over it replaces no table, key, secret or bus, and Ada's token is still handed out."""
        before = dict(self.ids)
        self.sam_deploy("DEBUG")
        changed = {name for name in before if before[name] != self.ids.get(name)}
        expect("everything is still what it was", not changed, changed)
        variables = self.environment("Token")
        expect("the change arrived", variables["LOG_LEVEL"] == "DEBUG", variables["LOG_LEVEL"])
        vended = self.signed(self.tokens, "GET", f"/users/{self.ada}/token")
        expect("a token", vended.status == 200, vended.status)
        self.canaries.append(vended.json()["access_token"])

    def sam_deploy(self, log_level):
        origin = f"http://{self.threads.netloc}"
        parameters = {
            "Architecture": "x86_64",
            "DomainName": DOMAIN,
            "CertificateArn": f"arn:aws:acm:{REGION}:000000000000:certificate/00000000-0000-0000-0000-000000000000",
            "AlarmTopicArn": self.alarm_topic,
            "AuthorizeAccess": "open",
            "ReturnToAllowlist": "https://app.rehearsal.test/",
            "ThreadsAuthorizeUrl": f"{origin}/oauth/authorize",
            "ThreadsGraphUrl": origin,
            "LogLevel": log_level,
        }
        template, simplified = self.template()
        command = [self.sam, "deploy", "--template-file", template, "--stack-name", STACK]
        command += ["--s3-bucket", STACK, "--region", REGION, "--capabilities", "CAPABILITY_IAM"]
        command += ["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"]
        command += [f"{name}={value}" for name, value in parameters.items()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        expect("sam deploy", done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:])
        stack = client("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
        summaries = client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        self.ids = {r["LogicalResourceId"]: r["PhysicalResourceId"] for p in summaries for r in p["StackResourceSummaries"]}
        return simplified

    def template(self):
        """The built template, without what the emulator cannot make."""
        template, simplified = yaml_parse(pathlib.Path(self.build, "template.yaml").read_text()), 0
        for alarm in wiring.of_type(template, "AWS::CloudWatch::Alarm").values():
            if metrics := alarm["Properties"].pop("Metrics", None):
                stat = metrics[1]["MetricStat"]
                alarm["Properties"] |= {**stat["Metric"], "Statistic": stat["Stat"], "Period": stat["Period"]}
                simplified += 1
        # Beside the functions, whose paths are relative.
        file = pathlib.Path(self.build, "rehearsal.yaml")
        file.write_text(yaml_dump(template))
        return str(file), simplified

    def routes(self):
        """The API that was made has every route, with its authorization."""
        api = client("apigatewayv2")
        items = api.get_routes(ApiId=self.ids["Api"])["Items"]
        found = {item["RouteKey"]: item["AuthorizationType"] for item in items}
        expected = {key: authorization for key, (authorization, _) in wiring.ROUTES.items()}
        expect("the routes", found == expected, found)
        return f"{len(found)} routes"

    def unconfigured(self):
        """Without secrets a person reads that the service is not set up, and nothing breaks."""
        answer = Browser().get("/authorize")
        expect("a page", answer.status in (500, 503) and "text/html" in answer.headers["content-type"], answer.body[:500])
        return f"status {answer.status}"

    def configure(self):
        """`threads-auth configure` tries the app's id and secret at Threads, writes them, and makes the keyring; a second time it keeps it."""
        app = json.loads(self.app)
        command = [self.command, "configure", "--stack", STACK, "--region", REGION, "--json"]
        command += ["--app-id", app["app_id"], "--app-secret", "-"]
        for made in (True, False):
            done = subprocess.run(command, input=app["app_secret"], capture_output=True, text=True, check=False)
            expect("configured", done.returncode == 0, done.stdout + done.stderr)
            result = json.loads(done.stdout)
            expect("a keyring once", result["keyring_made"] == made, result)
            expect("the address for Meta", result["redirect_callback_url"] == self.outputs["RedirectCallbackUrl"], result)
            expect("nothing secret was said", app["app_secret"] not in done.stdout + done.stderr)
        keyring = json.loads(client("secretsmanager").get_secret_value(SecretId=self.outputs["KeyringSecretArn"])["SecretString"])
        self.canaries += [*keyring["keys"].values(), keyring["tombstone"]]

    # ------------------------------------------------------------------------------------------------------------- operators

    def operate(self, *arguments, **environment):
        """Our command on the stack, as an operator types it: its exit code, its JSON, and what it says beside."""
        command = [self.command, *arguments, "--stack", STACK, "--region", REGION, "--json"]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
        secret = [canary for canary in self.canaries if canary in done.stdout + done.stderr]
        expect(f"{arguments} says no secret", not secret, f"{len(secret)} were said")
        return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr

    def operator(self, name, *allowed):
        """The environment of somebody who may do this and nothing else."""
        iam, kept = client("iam"), {"Effect": "Allow", "Action": "cloudformation:DescribeStacks", "Resource": "*"}
        statements = [kept, *({"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in allowed)]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.canaries.append(key["SecretAccessKey"])
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def examine(self, what, wrong, **environment):
        """What doctor finds; that all but these checks are ok, and these are as they should be."""
        code, report, said = self.operate("doctor", **environment)
        expect(f"doctor looks, {what}", "checks" in report, said)
        findings = {finding["check"]: finding for finding in report["checks"]}
        levels = {check: finding["level"] for check, finding in findings.items() if finding["level"] != "ok"}
        expect(f"what doctor finds, {what}", levels == wrong, json.dumps(report, indent=1))
        expect(f"what to do about it, {what}", all(findings[check].get("next") for check in wrong), report)
        expect(f"its exit code, {what}", code == int("fail" in levels.values()) and report["ok"] == (code == 0), code)
        return findings

    def doctor(self):
        """`threads-auth doctor` finds nothing wrong; then each of these is broken, found, and repaired."""
        alone = self.examine("without DNS", {"public address": "fail", "alarms": "warn"})
        expect("the name", f"https://{DOMAIN}/connected does not answer" in alone["public address"]["detail"], alone)
        expect("fresh alarms", "without data yet" in alone["alarms"]["detail"], alone)
        alarms = client("cloudwatch")
        names = [alarm["AlarmName"] for alarm in alarms.describe_alarms(AlarmNamePrefix=f"{STACK}-")["MetricAlarms"]]
        rings = lambda state: alarms.set_alarm_state(AlarmName=f"{STACK}-sweep-missed", StateValue=state, StateReason="rehearsed")  # noqa: E731
        for name in names:
            alarms.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="rehearsed")
        front = Front()
        self.behind = {"AWS_ENDPOINT_URL_CLOUDFORMATION": front.url}
        everything = {"stack", "app secret", "keyring", "app id and secret", "tokens", "public address", "clock"}
        everything |= {"redirect URI", "schedule", "alarms", "key policy"}
        well = self.examine("when all is well", {}, **self.behind)
        expect("all checks", set(well) == everything, set(well) ^ everything)

        count = 0
        for what, check, word, broken, repaired in self.faults(front, names, rings):
            broken()
            wrong = check if isinstance(check, dict) else {check: "fail"}
            found = self.examine(what, wrong, **self.behind)
            expect(f"doctor's words, {what}", word in json.dumps(found), found)
            repaired()
            self.examine(f"after {what}", {}, **self.behind)
            count += 1
        return f"{len(everything)} checks, {count} faults"

    def faults(self, front, alarms, rings):
        """What, which check, a word of what it says, how to break it and how to repair it."""
        secrets, scheduler, kms = client("secretsmanager"), client("scheduler"), client("kms")
        put = lambda output, value: lambda: secrets.put_secret_value(SecretId=self.outputs[output], SecretString=value)  # noqa: E731
        app = json.loads(self.app)
        keyring = secrets.get_secret_value(SecretId=self.outputs["KeyringSecretArn"])["SecretString"]
        other = json.loads(keyring)
        other["keys"] = {key: base64.b64encode(os.urandom(32)).decode() for key in other["keys"]}
        wrong_secret = json.dumps({**app, "app_secret": "0" * 32})
        wrong_id = json.dumps({**app, "app_id": "1" * 16})
        yield "another app secret", "app id and secret", "Meta does not take them", put("AppSecretArn", wrong_secret), put("AppSecretArn", self.app)
        all_three = {"app id and secret": "fail", "redirect URI": "fail", "tokens": "fail"}
        yield "another app id", all_three, "not the Meta app id on top", put("AppSecretArn", wrong_id), put("AppSecretArn", self.app)
        closed = {"keyring": "fail", "tokens": "warn"}
        yield "an empty keyring", closed, "do NOT make another", put("KeyringSecretArn", "{}"), put("KeyringSecretArn", keyring)
        yield "another keyring", "tokens", "1 of 1 do not open", put("KeyringSecretArn", json.dumps(other)), put("KeyringSecretArn", keyring)

        group, name = self.outputs["ScheduleName"].split("/")
        kept = scheduler.get_schedule(GroupName=group, Name=name)
        keys = ("ScheduleExpression", "FlexibleTimeWindow", "Target")
        kept = {"GroupName": group, "Name": name, **{key: kept[key] for key in keys}}
        turn = lambda state: lambda: scheduler.update_schedule(**kept, State=state)  # noqa: E731
        yield "a schedule that is off", "schedule", "is switched off", turn("DISABLED"), turn("ENABLED")
        make = lambda: scheduler.create_schedule(**kept, State="ENABLED")  # noqa: E731
        yield "no schedule", "schedule", "it is not there", lambda: scheduler.delete_schedule(GroupName=group, Name=name), make

        yield "an alarm that rings", "alarms", "ringing: sweep-missed", lambda: rings("ALARM"), lambda: rings("OK")
        one = client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-sweep-missed"])["MetricAlarms"][0]
        settable = client("cloudwatch").meta.service_model.operation_model("PutMetricAlarm").input_shape.members
        one = {key: value for key, value in one.items() if key in settable}

        def make():
            client("cloudwatch").put_metric_alarm(**one)
            rings("OK")

        gone = lambda: client("cloudwatch").delete_alarms(AlarmNames=[one["AlarmName"]])  # noqa: E731
        yield "an alarm that is gone", "alarms", "gone: sweep-missed", gone, make

        key = self.outputs["DataKeyArn"]
        policy = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])
        anybody = {"Sid": "Anybody", "Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}
        loose = {**policy, "Statement": [*policy["Statement"], anybody]}
        write = lambda policy: lambda: kms.put_key_policy(KeyId=key, PolicyName="default", Policy=json.dumps(policy))  # noqa: E731
        yield "a loose key", "key policy", "directly: Anybody", write(loose), write(policy)

        yield "a name that points elsewhere", "public address", "answers 40", lambda: setattr(front, "host", "elsewhere.test"), lambda: setattr(front, "host", DOMAIN)
        yield "a wrong clock", "clock", "behind AWS", lambda: setattr(front, "ahead", 600), lambda: setattr(front, "ahead", 0)

        # A stand-in for Threads in whose dashboard another redirect URI is.
        command = [self.command, "sandbox", "--port", "0", "--json", "--redirect-uri", "https://elsewhere.test/callback"]
        strict = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            addresses = json.loads(strict.stdout.readline())
            ours = f"http://{self.threads.netloc}/oauth/authorize"
            lists = lambda: front.puts.update({ours: addresses["authorize_url"]})  # noqa: E731
            yield "an address that Meta does not know", "redirect URI", "(1349168)", lists, lambda: front.puts.pop(ours)
        finally:
            strict.terminate()
            strict.communicate()

    def doctor_without_permissions(self):
        """What an operator's credentials may not read is a warning that names the permission, and nothing of it is called wrong."""
        denied = dict.fromkeys(("app secret", "keyring", "app id and secret", "tokens", "redirect URI", "schedule", "alarms", "key policy"), "warn")
        nobody = self.operator("nobody")
        found = self.examine("without permissions", denied, **self.behind, **nobody)
        named = [("app secret", "secretsmanager:GetSecretValue"), ("schedule", "scheduler:GetSchedule"), ("key policy", "kms:GetKeyPolicy")]
        for check, permission in named:
            expect(f"{permission} is named", permission in found[check]["next"], found)
        self.nobody = nobody

    # --------------------------------------------------------------------------------------------------------------- people

    def connect(self, username, target="/authorize"):
        """A person logs in, with a cookie jar, through the emulated HTTP API: who it is, and where they end."""
        user_id = self.control("POST", "/accounts", {"username": username})["user_id"]
        browser = Browser()
        start = browser.get(target)
        expect("a redirect to Threads", start.status == 302, start.body[:500])
        expect("a sealed cookie", start.cookies and all(c.startswith("__Host-") for c in start.cookies), start.cookies)
        consent = urllib.parse.urlsplit(start.headers["location"])
        approved = call(self.threads.netloc, self.threads.port, "GET", f"{consent.path}?{consent.query}&auto_approve={user_id}")
        back = urllib.parse.urlsplit(approved.headers["location"])
        expect("a redirect back to us", (back.scheme, back.netloc, back.path) == ("https", DOMAIN, "/callback"), approved.headers)
        query = urllib.parse.parse_qs(back.query)
        self.canaries += [query["code"][0], query["state"][0]]
        done = browser.get(f"{back.path}?{back.query}")
        expect("connected", done.status == 303, done.body[:500])
        again = browser.get(f"{back.path}?{back.query}")
        expect("a callback works once", again.status >= 400, again.status)
        return user_id, done.headers["location"]

    def row(self, user_id):
        key = {"pk": {"S": f"user#{user_id}"}}
        return client("dynamodb").get_item(TableName=self.outputs["GrantsTableName"], Key=key, ConsistentRead=True).get("Item")

    def login(self):
        """Ada connects; her token is sealed."""
        self.ada, location = self.connect("ada")
        expect("a clean address", location == "/connected", location)
        page = Browser().get(location)
        expect("a page", page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"], page.body[:500])
        row = self.row(self.ada)
        expect("an active grant", row["status"]["S"] == "active" and "B" in row["token"], row.keys())

    def callback_of_another_browser(self):
        """A callback without its cookie is refused, and Threads gets no call."""
        calls = len(self.control("GET", "/calls")["calls"])
        answer = Browser().get("/callback?code=forged&state=" + "A" * 43)
        expect("refused", answer.status == 400, answer.status)
        expect("no call", len(self.control("GET", "/calls")["calls"]) == calls)

    def private_routes(self):
        """Nobody without a signature gets past the API."""
        private = [key.split() for key, (authorization, _) in wiring.ROUTES.items() if authorization == "AWS_IAM"]
        for method, path in private:
            answer = call(DOMAIN, ENDPOINT.port, method, path.replace("{", "").replace("}", ""))
            expect(f"{method} {path} without a signature", answer.status == 403, (answer.status, answer.body[:300]))
        return f"{len(private)} routes"

    def backend(self, name, *policies):
        """Credentials of a backend with some of the stack's policies."""
        iam = client("iam")
        iam.create_user(UserName=name)
        for policy in policies:
            iam.attach_user_policy(UserName=name, PolicyArn=self.outputs[policy])
        key = iam.create_access_key(UserName=name)["AccessKey"]
        self.canaries.append(key["SecretAccessKey"])
        return Credentials(key["AccessKeyId"], key["SecretAccessKey"])

    def signed(self, credentials, method, target, body=None):
        """A request that is signed for our name, as a backend's is."""
        headers = {"Content-Type": "application/json"} if body else {}
        request = AWSRequest(method, f"https://{DOMAIN}{target}", headers=headers, data=body and json.dumps(body))
        SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
        return call(DOMAIN, ENDPOINT.port, method, target, dict(request.headers), request.body)

    def policies_of_backends(self):
        """Each of the two policies for backends opens its own routes, and not the other's."""
        sessions = self.backend("sessions", "StartSessionsPolicyArn")
        tokens = self.backend("tokens", "UseTokensPolicyArn")
        for key, (authorization, function) in wiring.ROUTES.items():
            if authorization == "AWS_IAM":
                method, path = key.split()
                target = re.sub(r"\{.*?\}", "1", path)
                right, wrong = (sessions, tokens) if function == "Sessions" else (tokens, sessions)
                answer = self.signed(wrong, method, target)
                expect(f"{key} is closed to the other backend", answer.status == 403, (answer.status, answer.body))
                answer = self.signed(right, method, target, {} if method == "POST" else None)
                expect(f"{key} reaches its function", answer.status in (200, 400, 404), (answer.status, answer.body))
        self.sessions, self.tokens = sessions, tokens

    def connect_session(self):
        """The backend starts a connect session, Linus comes back from it, and only his browser's code tells the backend who he is."""
        new = {"reference": "user-7", "return_to": "https://app.rehearsal.test/done"}
        created = self.signed(self.sessions, "POST", "/sessions", new)
        expect("a session", created.status == 201, created.body)
        session = created.json()
        self.linus, location = self.connect("linus", session["url"].removeprefix(f"https://{DOMAIN}"))
        back = urllib.parse.urlsplit(location)
        query = urllib.parse.parse_qs(back.query)
        expect("the app's own page", f"{back.scheme}://{back.netloc}{back.path}" == new["return_to"], location)
        self.canaries.append(query["completion"][0])
        path = f"/sessions/{session['id']}"
        wrong = self.signed(self.sessions, "POST", f"{path}/complete", {"completion": "A" * 43})
        expect("another code is refused", wrong.status == 403, wrong.body)
        done = self.signed(self.sessions, "POST", f"{path}/complete", {"completion": query["completion"][0]})
        expect("completed", done.status == 200 and done.json()["user_id"] == self.linus, done.body)
        expect("connected", self.signed(self.sessions, "GET", path).json()["status"] == "connected")

    def vending(self):
        """The backend lists its users and gets Ada's token, which works at Threads."""
        listed = self.signed(self.tokens, "GET", "/users")
        expect("a list", {user["user_id"] for user in listed.json()["users"]} == {self.ada, self.linus}, listed.body)
        vended = self.signed(self.tokens, "GET", f"/users/{self.ada}/token?min_valid=3600")
        expect("a token", vended.status == 200, vended.body)
        token = vended.json()["access_token"]
        self.canaries.append(token)
        query = urllib.parse.urlencode({"fields": "id", "access_token": token})
        profile = call(self.threads.netloc, self.threads.port, "GET", f"/v1.0/me?{query}")
        expect("it is Ada's", profile.json()["id"] == self.ada, profile.body)

    def disconnecting(self):
        """The backend disconnects Linus: no token of his is left."""
        answer = self.signed(self.tokens, "DELETE", f"/users/{self.linus}")
        expect("disconnected", answer.status == 200, answer.body)
        refused = self.signed(self.tokens, "GET", f"/users/{self.linus}/token")
        expect("no token", refused.status in (404, 409, 410) and "access_token" not in refused.body, (refused.status, refused.body))
        expect("none in the table", not {"token", "previous_token"} & set(self.row(self.linus)))

    def listen(self):
        """A rule on the bus, and a queue behind it, as an app would have them."""
        queue = client("sqs").create_queue(QueueName="rehearsal")["QueueUrl"]
        arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        rule = {"Name": "rehearsal", "EventBusName": self.outputs["EventBusName"]}
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
        self.queue, self.events = queue, []

    def events_arrive(self):
        """Everything that happened was announced on the bus, from the table's stream, and no event holds a secret."""
        expected = {
            ("account.connected", self.ada),
            ("account.refreshed", self.ada),
            ("account.connected", self.linus),
            ("account.disconnected", self.linus),
            ("account.deleted", self.linus),
            ("account.connected", self.grace),
            ("account.disconnected", self.grace),
            ("account.deleted", self.grace),
        }

        def all_there():
            got = client("sqs").receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10)
            for message in got.get("Messages", []):
                self.events.append(json.loads(message["Body"]))
                client("sqs").delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
            return expected <= {(event["detail-type"], event["detail"]["user_id"]) for event in self.events}

        until(f"the events {expected}", all_there)
        text = json.dumps(self.events)
        expect("no secret in an event", not any(canary in text for canary in self.canaries))
        ids = [event["detail"]["id"] for event in self.events]
        return f"{len(ids)} events, {len(set(ids))} different ones"

    def meta_calls(self, path, user_id):
        """What Meta posts, signed with the app's secret."""
        payload = {"algorithm": "HMAC-SHA256", "issued_at": int(time.time()), "user_id": user_id}
        encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
        payload = encode(json.dumps(payload).encode())
        signature = encode(hmac.new(json.loads(self.app)["app_secret"].encode(), payload.encode(), hashlib.sha256).digest())
        form = urllib.parse.urlencode({"signed_request": f"{signature}.{payload}"})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return call(DOMAIN, ENDPOINT.port, "POST", path, headers, form)

    def deauthorize(self):
        """Meta says that Grace removed the app: her tokens are destroyed. A forged message does nothing."""
        grace, _ = self.connect("grace")
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        forged = call(DOMAIN, ENDPOINT.port, "POST", "/deauthorize", headers, "signed_request=AAAA.e30")
        expect("a forged message is refused", forged.status == 400, forged.status)
        expect("and changes nothing", self.row(grace)["status"]["S"] == "active")
        answer = self.meta_calls("/deauthorize", grace)
        expect("an answer", answer.status == 200, answer.body)
        row = self.row(grace)
        expect("no token is left", row["status"]["S"] == "revoked" and "token" not in row, row.keys())
        self.grace = grace

    def deletion(self):
        """Meta says that Grace and Linus want to be forgotten: no table names them, and a page tells them so."""
        for person in (self.grace, self.linus):
            answer = self.meta_calls("/data-deletion", person)
            expect("an answer", answer.status == 200, answer.body)
            url = urllib.parse.urlsplit(answer.json()["url"])
            expect("an address of ours", url.netloc == DOMAIN, url)
            page = call(DOMAIN, ENDPOINT.port, "GET", url.path)
            expect("a page", page.status == 200, page.status)
            left = [
                item
                for table in (self.outputs["GrantsTableName"], self.outputs["ShortLivedTableName"])
                for item in client("dynamodb").scan(TableName=table)["Items"]
                if person in json.dumps(item, default=str)
            ]
            expect("no row names them", not left, [item["pk"] for item in left])

    # ---------------------------------------------------------------------------------------------------------------- sweep

    def let_41_days_pass(self):
        """For Ada's row, which is what it was."""
        row = self.row(self.ada)
        past = {name: {"N": str(int(row[name]["N"]) - 41 * DAY)} for name in ("issued_at", "due_at", "expires_at")}
        client("dynamodb").update_item(
            TableName=self.outputs["GrantsTableName"],
            Key={"pk": row["pk"]},
            UpdateExpression="SET issued_at = :issued_at, due_at = :due_at, expires_at = :expires_at",
            ExpressionAttributeValues={f":{name}": value for name, value in past.items()},
        )
        self.control("POST", "/clock", {"advance_seconds": 2 * DAY})
        return row

    def sweep(self):
        """41 days pass for Ada's row, and the emulated Scheduler invokes the function with the schedule's own target."""
        row = self.let_41_days_pass()
        scheduler = client("scheduler")
        group, name = self.outputs["ScheduleName"].split("/")
        schedule = scheduler.get_schedule(GroupName=group, Name=name)
        expect("a dead-letter queue", schedule["Target"]["DeadLetterConfig"]["Arn"], schedule["Target"])
        # The emulator counts rate(15 minutes) from the deployment, so the same target gets a schedule for now.
        scheduler.create_schedule(
            Name="rehearsal",
            GroupName=group,
            ScheduleExpression=time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime()),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={key: schedule["Target"][key] for key in ("Arn", "RoleArn", "Input")},
        )
        until("a refreshed token", lambda: "refreshed_at" in self.row(self.ada))
        after = self.row(self.ada)
        expect("another token", after["token"] != row["token"] and "previous_token" in after, after.keys())
        days = (int(after["due_at"]["N"]) - time.time()) / DAY
        expect("due again in weeks", 20 < days < 60, days)
        return f"due again in {days:.0f} days"

    def sweep_by_hand(self):
        """41 days pass twice more: `threads-auth sweep` refreshes Ada's token from here, and with `--invoke` whoever may do nothing but invoke."""
        function = client("lambda").get_function(FunctionName=self.outputs["RefreshFunctionName"])["Configuration"]["FunctionArn"]
        invoker = self.operator("invoker", ("lambda:InvokeFunction", function))
        for arguments, environment in ((["sweep"], {}), (["sweep", "--invoke"], invoker)):
            row = self.let_41_days_pass()
            code, report, said = self.operate(*arguments, **environment)
            expect(f"{arguments} refreshes one", code == 0 and report["outcomes"] == {"refreshed": 1}, (code, report, said))
            expect("nothing is overdue", report["oldest_overdue_seconds"] == 0 and report["weakest_token_days"] > 50, report)
            expect("another token", self.row(self.ada)["token"] != row["token"])
            code, report, said = self.operate(*arguments, "--budget", "60", **environment)
            expect(f"{arguments} finds no other", code == 0 and report["outcomes"] == {}, (code, report, said))
        code, _, said = self.operate("sweep", **invoker)
        expect("the invoker opens no secret", code == 1 and "AccessDenied" in said, (code, said))
        code, _, said = self.operate("sweep", "--invoke", **self.nobody)
        expect("others may not invoke", code == 1 and "need lambda:InvokeFunction" in said, (code, said))
        # A sweep that fails as a whole.
        iam, role = client("iam"), self.ids["RefreshRole"]
        kept = iam.get_role_policy(RoleName=role, PolicyName="refresh")["PolicyDocument"]
        iam.delete_role_policy(RoleName=role, PolicyName="refresh")
        code, report, said = self.operate("sweep", "--invoke", **invoker)
        expect("the function's failure", code == 1 and "the sweep could not be made" in said, (code, report, said))
        iam.put_role_policy(RoleName=role, PolicyName="refresh", PolicyDocument=json.dumps(kept))

    # ---------------------------------------------------------------------------------------------------- what AWS keeps apart

    def messages(self):
        """Every line of every log."""
        logs = client("logs")
        for group in logs.describe_log_groups()["logGroups"]:
            for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
                for event in page["events"]:
                    yield group["logGroupName"], event["message"]

    def under_cargo_lambda(self):
        """A developer runs a function of the deployment from its source, by `cargo lambda watch` and `invoke`."""
        folder, port = wiring.INFRA.parent / "functions" / "refresh", free_port()
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "CARGO_TARGET_DIR", "CARGO_HOME", "RUSTUP_HOME") if key in os.environ}
        environment = {**self.environment("Refresh"), **kept}
        subprocess.run(["cargo", "build", "--quiet", "--locked"], cwd=folder, env=environment, check=True)
        address = ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
        watch = ["cargo", "lambda", "watch", "--ignore-changes", *address]
        # A group of its own, so that what it starts ends with it.
        process = subprocess.Popen(watch, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            until("cargo lambda watch", lambda: listens(port))
            invoke = ["cargo", "lambda", "invoke", "refresh", *address, "--data-ascii", "{}"]
            done = subprocess.run(invoke, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            expect("a sweep's report", '"outcomes"' in done.stdout, done.stdout + done.stderr)
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate()

    def metrics(self):
        """The functions print every metric that an alarm of the template reads, under the alarm's own name, dimensions and service."""
        printed = set()
        for _, message in self.messages():
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
        # No stored token has failed to open here.
        missing = {metric for metric in read - printed if metric[1] != "DecryptFailures"}
        expect("all metrics", read and not missing, (missing, printed))
        names = {name for _, name, _ in printed}
        expect("those of the dashboard too", names >= {"Connects", "Refreshes", "ColdStarts"}, names)
        return f"{len(printed)} metrics"

    def logs(self):
        """No secret, token, code or state is in any function's log."""
        lines, found = 0, set()
        for _, message in self.messages():
            lines += 1
            found |= {canary for canary in self.canaries if canary in message}
        expect("lines", lines, "no logs were found at all")
        expect("no secret in the logs", not found, f"{len(found)} of {len(self.canaries)} canaries were logged")
        return f"{lines} lines, {len(self.canaries)} canaries"

    def roles_matter(self):
        """The control experiment: without its policy a function fails, so the emulator does enforce the roles."""
        iam, role = client("iam"), self.ids["AuthorizeRole"]
        kept = iam.get_role_policy(RoleName=role, PolicyName="authorize")["PolicyDocument"]
        target = "/authorize?session=" + "A" * 32
        expect("no such session", Browser().get(target).status == 404)
        iam.delete_role_policy(RoleName=role, PolicyName="authorize")
        expect("it fails", Browser().get(target).status == 503)
        iam.put_role_policy(RoleName=role, PolicyName="authorize", PolicyDocument=json.dumps(kept))
        expect("and works again", Browser().get(target).status == 404)

    def least_privilege(self):
        """Each role allows of the data what its function was seen to use, and nothing else."""
        iam, unused, count = client("iam"), [], 0
        used = self.calls()
        for function in sorted({function for _, function in wiring.ROUTES.values()} | {"Refresh", "Events"}):
            role = self.ids[f"{function}Role"]
            documents = [iam.get_role_policy(RoleName=role, PolicyName=function.lower())["PolicyDocument"]]
            for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
                version = iam.get_policy(PolicyArn=attached["PolicyArn"])["Policy"]["DefaultVersionId"]
                policy = iam.get_policy_version(PolicyArn=attached["PolicyArn"], VersionId=version)
                documents.append(policy["PolicyVersion"]["Document"])
            for statement in (statement for document in documents for statement in document["Statement"]):
                for action in listed(statement["Action"]):
                    # AWS itself uses these for the function: it logs, delivers dead letters, reads the stream, and asks KMS.
                    if re.match(r"(logs|sqs|kms):|dynamodb:(ListStreams|DescribeStream|GetRecords|GetShardIterator)$", action):
                        continue
                    for resource in listed(statement["Resource"]):
                        count += 1
                        if (function, action, resource) not in used:
                            unused.append((function, action, resource))
        expect("nothing more than is used", not unused, unused)
        return f"{count} permissions"

    def calls(self):
        """The calls that each function's own credentials made, as the emulator's CloudTrail recorded them."""
        transact = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
        names = {}
        for function in {function for _, function in wiring.ROUTES.values()} | {"Refresh", "Events"}:
            made = client("lambda").get_function_configuration(FunctionName=self.ids[f"{function}Function"])
            # How the emulator names the credentials of a function with a role.
            digest = hashlib.sha256(f"{made['FunctionArn']}:{made['Role']}".encode()).hexdigest()
            names[f"ASIA{digest[:16].upper()}"] = function
        used = set()
        bus = client("events").describe_event_bus(Name=self.outputs["EventBusName"])["Arn"]
        table = lambda name: f"arn:aws:dynamodb:{REGION}:000000000000:table/{name}"  # noqa: E731
        actions = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "TransactWriteItems", "GetSecretValue", "PutEvents"]
        # The emulator gives the newest 50 that match, and no more.
        for key, action in itertools.product(names, actions):
            match = {"AccessKeyId": key, "EventName": action}
            attributes = [{"AttributeKey": name, "AttributeValue": value} for name, value in match.items()]
            for event in client("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]:
                function, request = names[key], json.loads(event["CloudTrailEvent"])["requestParameters"]
                if action == "TransactWriteItems":
                    for kind, item in (pair for one in request["TransactItems"] for pair in one.items()):
                        used.add((function, f"dynamodb:{transact[kind]}", table(item["TableName"])))
                elif action == "PutEvents":
                    used.add((function, "events:PutEvents", bus))
                elif action == "GetSecretValue":
                    used.add((function, "secretsmanager:GetSecretValue", request["SecretId"]))
                else:
                    index = f"/index/{request['IndexName']}" if "IndexName" in request else ""
                    used.add((function, f"dynamodb:{action}", table(request["TableName"]) + index))
        return used

    def environment(self, name):
        """What the template gives a function, and what Lambda adds to it."""
        function = client("lambda").get_function_configuration(FunctionName=self.ids[f"{name}Function"])
        return {
            **function["Environment"]["Variables"],
            **{key: value for key, value in os.environ.items() if key.startswith("AWS_")},
            "AWS_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function["Timeout"]),
        }

    def under_the_runtime_emulator(self):
        """Each executable answers under AWS's own emulator of Lambda's runtime, with the environment that the template gives it."""
        emulator = pathlib.Path(samcli.__file__).parent / "local" / "rapid" / "aws-lambda-rie-x86_64"
        sweep, batch = ({}, lambda answer: "outcomes" in answer), ({"Records": []}, lambda answer: answer == {"batchItemFailures": []})

        def http(method, path, status):
            context = {"http": {"method": method, "path": path}, "requestId": "rehearsal"}
            event = {"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {}, "requestContext": context}
            return event, lambda answer: answer.get("statusCode") == status

        tries = {
            "Authorize": http("GET", "/authorize", 302),
            "Callback": http("GET", "/connected", 200),
            "Deauthorize": http("POST", "/deauthorize", 400),
            "Deletion": http("GET", "/data-deletion/" + "0" * 32, 404),
            # Nobody has signed these, which only API Gateway can let pass.
            "Sessions": http("GET", "/sessions/1", 403),
            "Token": http("GET", "/users", 403),
            "Refresh": sweep,
            "Events": batch,
        }
        for name, (event, is_right) in tries.items():
            ports, environment = [free_port(), free_port()], self.environment(name)
            command = [str(emulator), "--runtime-interface-emulator-address", f"127.0.0.1:{ports[0]}"]
            command += ["--runtime-api-address", f"127.0.0.1:{ports[1]}", f"{self.build}/{name}Function/bootstrap"]
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                until("the runtime emulator", lambda: listens(ports[0]))
                path = "/2015-03-31/functions/function/invocations"
                answer = call("127.0.0.1", ports[0], "POST", path, {}, json.dumps(event))
                expect(f"{name} answers", is_right(answer.json()), answer.body[:500])
            finally:
                process.terminate()
                output = process.communicate()[0].decode()
            expect(f"{name} logs no secret", not any(canary in output for canary in self.canaries))
        return f"{len(tries)} executables"

    def dead_letters(self):
        """Nothing of all this was given up."""
        for name in ("SweepDeadLetters", "EventsDeadLetters"):
            attributes = client("sqs").get_queue_attributes(QueueUrl=self.ids[name], AttributeNames=["ApproximateNumberOfMessages"])
            expect(f"{name} is empty", attributes["Attributes"]["ApproximateNumberOfMessages"] == "0", attributes)


STEPS = [
    Rehearsal.deploy,
    Rehearsal.routes,
    Rehearsal.unconfigured,
    Rehearsal.configure,
    Rehearsal.listen,
    Rehearsal.login,
    Rehearsal.doctor,
    Rehearsal.doctor_without_permissions,
    Rehearsal.callback_of_another_browser,
    Rehearsal.private_routes,
    Rehearsal.policies_of_backends,
    Rehearsal.connect_session,
    Rehearsal.vending,
    Rehearsal.disconnecting,
    Rehearsal.deauthorize,
    Rehearsal.deletion,
    Rehearsal.sweep,
    Rehearsal.sweep_by_hand,
    Rehearsal.events_arrive,
    Rehearsal.least_privilege,
    Rehearsal.roles_matter,
    Rehearsal.under_the_runtime_emulator,
    Rehearsal.under_cargo_lambda,
    Rehearsal.metrics,
    Rehearsal.upgrade,
    Rehearsal.logs,
    Rehearsal.dead_letters,
]


def main(build, sandbox, sam, command):
    with open(sandbox) as file:
        rehearsal = Rehearsal(build, json.load(file), sam, command)
    for step in STEPS:
        began = time.monotonic()
        try:
            result = step(rehearsal)
        except SystemExit:
            for group, message in rehearsal.messages():
                print(group, message.rstrip(), file=sys.stderr)
            raise
        sentence = " ".join(step.__doc__.split())
        print(f"ok   {time.monotonic() - began:5.1f} s  {sentence}{f' ({result})' if result else ''}", flush=True)
    print(f"{len(STEPS)} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
