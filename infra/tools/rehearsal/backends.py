"""An app's backend: signed calls, with the stack's own policies for it."""

import json
import re
import urllib.parse

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import wiring
from .people import connect
from .stage import DOMAIN, ENDPOINT, REGION, call, client, expect


def private_routes(stage):
    """Nobody without a signature gets past the API."""
    private = [key.split() for key, (authorization, _) in wiring.ROUTES.items() if authorization == "AWS_IAM"]
    for method, path in private:
        answer = call(DOMAIN, ENDPOINT.port, method, path.replace("{", "").replace("}", ""))
        expect(f"{method} {path} without a signature", answer.status == 403, (answer.status, answer.body[:300]))
    return f"{len(private)} routes"


def backend(stage, name, *policies):
    """Credentials of a backend with some of the stack's policies."""
    iam = client("iam")
    iam.create_user(UserName=name)
    for policy in policies:
        iam.attach_user_policy(UserName=name, PolicyArn=stage.outputs[policy])
    key = iam.create_access_key(UserName=name)["AccessKey"]
    stage.canaries.append(key["SecretAccessKey"])
    return Credentials(key["AccessKeyId"], key["SecretAccessKey"])


def signed(stage, credentials, method, target, body=None):
    """A request that is signed for our name, as a backend's is."""
    headers = {"Content-Type": "application/json"} if body else {}
    request = AWSRequest(method, f"https://{DOMAIN}{target}", headers=headers, data=body and json.dumps(body))
    SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
    return call(DOMAIN, ENDPOINT.port, method, target, dict(request.headers), request.body)


def policies(stage):
    """Each of the two policies for backends opens its own routes, and not the other's."""
    sessions = backend(stage, "sessions", "StartSessionsPolicyArn")
    tokens = backend(stage, "tokens", "UseTokensPolicyArn")
    for key, (authorization, function) in wiring.ROUTES.items():
        if authorization == "AWS_IAM":
            method, path = key.split()
            target = re.sub(r"\{.*?\}", "1", path)
            right, wrong = (sessions, tokens) if function == "Sessions" else (tokens, sessions)
            answer = signed(stage, wrong, method, target)
            expect(f"{key} is closed to the other backend", answer.status == 403, (answer.status, answer.body))
            answer = signed(stage, right, method, target, {} if method == "POST" else None)
            expect(f"{key} reaches its function", answer.status in (200, 400, 404), (answer.status, answer.body))
    stage.sessions, stage.tokens = sessions, tokens


def connect_session(stage):
    """The backend starts a connect session, Linus comes back from it, and only his browser's code tells the backend who he is."""
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


def disconnecting(stage):
    """The backend disconnects Linus: no token of his is left."""
    answer = signed(stage, stage.tokens, "DELETE", f"/users/{stage.linus}")
    expect("disconnected", answer.status == 200, answer.body)
    refused = signed(stage, stage.tokens, "GET", f"/users/{stage.linus}/token")
    expect("no token", refused.status in (404, 409, 410) and "access_token" not in refused.body, (refused.status, refused.body))
    expect("none in the table", not {"token", "previous_token"} & set(stage.row(stage.linus)))
