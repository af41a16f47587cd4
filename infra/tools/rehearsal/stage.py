"""The stage of the rehearsal: the emulator and our sandbox, how they are called, and all that one
step leaves to the next ones."""

import http.client
import json
import os
import socket
import sys
import time
import urllib.parse

import boto3

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
    """Waits for a result of `get`, and returns it. The emulator delivers schedules and streams in
    its own time."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if found := get():
            return found
        time.sleep(0.2)
    sys.exit(f"FAILED: {what}: nothing came of it in {PATIENCE} s")


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


class Stage:
    """The build, the sandbox and the command, and what the steps add: the stack's outputs and ids,
    the people, the backends."""

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

    def row(self, user_id):
        """A person's row in the table of grants."""
        key = {"pk": {"S": f"user#{user_id}"}}
        return client("dynamodb").get_item(TableName=self.outputs["GrantsTableName"], Key=key, ConsistentRead=True).get("Item")

    def environment(self, name):
        """Returns the template's variables of a function, with those that Lambda adds."""
        function = client("lambda").get_function_configuration(FunctionName=self.ids[f"{name}Function"])
        return {
            **function["Environment"]["Variables"],
            **{key: value for key, value in os.environ.items() if key.startswith("AWS_")},
            "AWS_REGION": REGION,
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function["Timeout"]),
        }
