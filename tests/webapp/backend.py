"""The part of an app's backend that talks to Threads Auth: signed calls, and events."""

import json
import pathlib
import threading

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECONDS = 30


class Backend:
    """Threads Auth, and Threads with the tokens that come from it."""

    def __init__(self, addresses: dict):
        self.service, self.threads = addresses["service_url"], addresses["threads_url"]
        # In production these come from the role that the app runs as:
        # botocore.session.Session().get_credentials().
        credentials = Credentials(addresses["access_key_id"], addresses["secret_access_key"])
        self.signer = SigV4Auth(credentials, "execute-api", addresses["region"])

    def call(self, method: str, path: str, body: dict | None = None) -> requests.Response:
        data = None if body is None else json.dumps(body)
        signed = AWSRequest(method, self.service + path, {"content-type": "application/json"}, data)
        self.signer.add_auth(signed)
        return requests.request(method, signed.url, headers=dict(signed.headers), data=data, timeout=SECONDS)

    def who_is(self, token: str) -> str:
        query = {"fields": "username", "access_token": token}
        answer = requests.get(f"{self.threads}/v1.0/me", query, timeout=SECONDS)
        return answer.json().get("username", "nobody")


class Events:
    """The lines that were added to the file of `--json-events`. In production, a rule on the bus
    hands events over."""

    def __init__(self, path: str):
        self.path, self.position, self.lock = pathlib.Path(path), 0, threading.Lock()

    def new(self) -> list[dict]:
        with self.lock, self.path.open("rb") as file:
            file.seek(self.position)
            whole = file.read().rpartition(b"\n")[0]
            self.position += len(whole) + (whole != b"")
            return [json.loads(line)["detail"] for line in whole.splitlines()]
