"""An app's backend: signed calls, with roles of backend.yaml."""

import json
import pathlib
import re
import secrets
import urllib.parse

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import wiring
from backends import PERMISSIONS
from .people import connect
from .stage import DOMAIN, ENDPOINT, REGION, call, client, expect


def private_routes(stage):
    """Nobody without a signature gets past the API."""
    private = [key.split() for key, (authorization, _) in wiring.ROUTES.items() if authorization == "AWS_IAM"]
    for method, path in private:
        answer = call(DOMAIN, ENDPOINT.port, method, path.replace("{", "").replace("}", ""))
        expect(f"{method} {path} without a signature", answer.status == 403, (answer.status, answer.body[:300]))
    return f"{len(private)} routes"


def backend(stage, name, *may):
    """Credentials of a backend in another stack's role, which it takes with an external id."""
    iam, cloudformation = client("iam"), client("cloudformation")
    # A user in another account needs that account's permission to take the role, too.
    user = iam.create_user(UserName=name)["User"]["Arn"]
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::000000000000:role/*"}
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    external_id = secrets.token_hex(16)
    parameters = {"ApiId": stage.outputs["ApiId"], "BackendPrincipals": user, "BackendExternalId": external_id}
    parameters |= {f"May{permission}": "true" for permission in may}
    template = pathlib.Path(wiring.INFRA, "backend.yaml").read_text()
    given = [{"ParameterKey": of, "ParameterValue": value} for of, value in parameters.items()]
    cloudformation.create_stack(StackName=f"backend-{name}", TemplateBody=template, Parameters=given, Capabilities=["CAPABILITY_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName=f"backend-{name}", WaiterConfig={"Delay": 1})
    outputs = cloudformation.describe_stacks(StackName=f"backend-{name}")["Stacks"][0]["Outputs"]
    role = next(output["OutputValue"] for output in outputs if output["OutputKey"] == "BackendRoleArn")
    as_user = boto3.client("sts", region_name=REGION, aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])
    for wrong in ({}, {"ExternalId": "0" * 32}):
        try:
            as_user.assume_role(RoleArn=role, RoleSessionName=name, **wrong)
            expect(f"the role of {name} is closed with {wrong}", False)
        except as_user.exceptions.ClientError as error:
            expect("it is refused", error.response["Error"]["Code"] == "AccessDenied", error)
    taken = as_user.assume_role(RoleArn=role, RoleSessionName=name, ExternalId=external_id)["Credentials"]
    stage.canaries += [key["SecretAccessKey"], taken["SecretAccessKey"], taken["SessionToken"]]
    return Credentials(taken["AccessKeyId"], taken["SecretAccessKey"], taken["SessionToken"])


def signed(stage, credentials, method, target, body=None, host=DOMAIN):
    """A request that is signed for our name, as a backend's is."""
    headers = {"Content-Type": "application/json"} if body else {}
    request = AWSRequest(method, f"https://{host}{target}", headers=headers, data=body and json.dumps(body))
    SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    return call(host, ENDPOINT.port, method, target, dict(request.headers), request.body)


def permissions(stage):
    """Each permission of a backend's role opens its own routes, and no other: with temporary
    credentials, taken with an external id."""
    count = 0
    for name, routes in PERMISSIONS.items():
        credentials = backend(stage, f"only-{name.lower()}", name)
        for key, (authorization, _) in wiring.ROUTES.items():
            if authorization == "AWS_IAM":
                method, path = key.split()
                target = re.sub(r"\{.*?\}", "1", path)
                answer = signed(stage, credentials, method, target, {} if method == "POST" else None)
                statuses = (200, 400, 404) if key in routes else (403,)
                expect(f"{name} at {key}", answer.status in statuses, (answer.status, answer.body))
                count += 1
    stage.sessions = backend(stage, "sessions", "Sessions")
    stage.tokens = backend(stage, "tokens", "Read", "Vend", "Manage")
    return f"{count} calls"


def connect_session(stage):
    """The backend starts a connect session, Linus comes back from it, and only his browser's code
    tells the backend who he is."""
    new = {"reference": "user-7", "return_to": "https://app.rehearsal.test/done"}
    created = signed(stage, stage.sessions, "POST", "/sessions", new)
    expect("a session", created.status == 201, created.body)
    session = created.json()
    stage.linus, location = connect(stage, "linus", session["url"].removeprefix(f"https://{DOMAIN}"))
    back = urllib.parse.urlsplit(location)
    query = urllib.parse.parse_qs(back.query)
    expect("the app's own page", f"{back.scheme}://{back.netloc}{back.path}" == new["return_to"], location)
    stage.canaries.append(query["completion"][0])
    path = f"/sessions/{session['id']}"
    wrong = signed(stage, stage.sessions, "POST", f"{path}/complete", {"completion": "A" * 43, "reference": "user-7"})
    expect("another code is refused", wrong.status == 403, wrong.body)
    redeemed = {"completion": query["completion"][0], "reference": "user-7"}
    other = signed(stage, stage.sessions, "POST", f"{path}/complete", redeemed | {"reference": "user-8"})
    expect("another user is refused", other.status == 403, other.body)
    done = signed(stage, stage.sessions, "POST", f"{path}/complete", redeemed)
    expect("completed", done.status == 200 and done.json()["user_id"] == stage.linus, done.body)
    expect("connected", signed(stage, stage.sessions, "GET", path).json()["status"] == "connected")


def vending(stage):
    """The backend lists its users and gets Ada's token, which works at Threads."""
    listed = signed(stage, stage.tokens, "GET", "/users")
    expect("a list", {user["user_id"] for user in listed.json()["users"]} == {stage.ada, stage.linus}, listed.body)
    vended = signed(stage, stage.tokens, "GET", f"/users/{stage.ada}/token?min_valid=3600")
    expect("a token", vended.status == 200, vended.body)
    token = vended.json()["access_token"]
    stage.canaries.append(token)
    query = urllib.parse.urlencode({"fields": "id", "access_token": token})
    profile = call(stage.threads.netloc, stage.threads.port, "GET", f"/v1.0/me?{query}")
    expect("it is Ada's", profile.json()["id"] == stage.ada, profile.body)


def references(stage):
    """The backend finds Linus's account by the user who has completed it, and gives Ada's, which
    came without a session, to another."""

    def found(reference):
        listed = signed(stage, stage.tokens, "GET", f"/users?reference={reference}")
        return {user["user_id"] for user in listed.json()["users"]}

    expect("the one who completed", found("user-7") == {stage.linus})
    assigned = signed(stage, stage.tokens, "PATCH", f"/users/{stage.ada}", {"reference": "user-8"})
    expect("assigned", assigned.status == 200 and assigned.json()["reference"] == "user-8", assigned.body)
    expect("the one who was assigned", found("user-8") == {stage.ada})
    refused = signed(stage, stage.sessions, "PATCH", f"/users/{stage.ada}", {"reference": "user-9"})
    expect("not by a backend that may only start sessions", refused.status == 403, refused.body)


def disconnecting(stage):
    """The backend disconnects Linus: no token of his is left."""
    answer = signed(stage, stage.tokens, "DELETE", f"/users/{stage.linus}")
    expect("disconnected", answer.status == 200, answer.body)
    refused = signed(stage, stage.tokens, "GET", f"/users/{stage.linus}/token")
    expect("no token", refused.status in (404, 409, 410) and "access_token" not in refused.body, (refused.status, refused.body))
    expect("none in the table", not {"token", "previous_token"} & set(stage.row(stage.linus)))
