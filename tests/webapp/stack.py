"""The stack that runs, for the driver: its controls, its tables, its events, and a person with a
jar of cookies."""

import json
import re
import sys
import threading
from datetime import datetime

import boto3
import requests

import waiting
from app import HOST, PORT
from backend import Backend, Events

APP = f"http://{HOST}:{PORT}"
# Everything is on this machine; what takes longer than this does not come.
PATIENCE = 20
DAY = 86_400


def check(what: str, holds: bool, say: bool = True):
    if not holds:
        sys.exit(f"webapp: FAILED: {what}")
    if say:
        print(f"webapp: {what}", flush=True)


def eventually(what: str, look):
    """Waits for something on this machine, as long as anything here takes."""
    return waiting.eventually("webapp", what, look, PATIENCE)


class Stack(Backend):
    """Threads Auth under its development controls, and the sandbox."""

    def __init__(self, addresses: dict, events_file: str):
        super().__init__(addresses)
        self.addresses = addresses
        self.events = Events(events_file)
        self.events.new()
        self.unseen: list[dict] = []

    def client(self, service: str):
        return boto3.client(
            service,
            endpoint_url=self.addresses[{"secretsmanager": "secrets_manager_url"}.get(service, f"{service}_url")],
            region_name=self.addresses["region"],
            aws_access_key_id=self.addresses["access_key_id"],
            aws_secret_access_key=self.addresses["secret_access_key"],
        )

    def dev(self, path: str, body: dict | None = None) -> dict:
        answer = requests.post(f"{self.service}/dev/{path}", json=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def control(self, method: str, path: str, body: dict | None = None) -> dict:
        answer = requests.request(method, f"{self.threads}/control/{path}", json=body, timeout=PATIENCE)
        answer.raise_for_status()
        return answer.json()

    def advance(self, seconds: int):
        self.dev("clock", {"advance_seconds": seconds})

    def now(self) -> int:
        """The stack's own time, in seconds."""
        return int(datetime.fromisoformat(self.control("GET", "clock")["now"]).timestamp())

    def account(self, username: str) -> str:
        """The id of a sandbox account, made if need be."""
        return self.control("POST", "accounts", {"username": username})["user_id"]

    def connect(self, account: str):
        """Connects an account without an app, in a browser of its own."""
        Jar().consent(f"{self.service}/authorize", account)

    def token(self, account: str) -> requests.Response:
        return self.call("GET", f"/users/{account}/token")

    def delay_refresh(self, account: str, millis: int):
        self.control("POST", "faults", {"call": "refresh", "user_id": account, "action": {"delay": {"millis": millis}}})

    def waiting_refreshes(self) -> set[str]:
        """Returns the accounts whose delayed refresh is not on its way yet."""
        return {fault["user_id"] for fault in self.control("GET", "faults")["faults"]}

    def refreshes(self, account: str) -> int:
        calls = self.control("GET", "calls")["calls"]
        return sum(call["call"] == "refresh" and call["user_id"] == account for call in calls)

    def rows(self, of: str | None = None) -> list[str]:
        """Everything in both tables; or only the rows that mention `of`."""
        client = self.client("dynamodb")
        tables = self.addresses["grants_table"], self.addresses["short_lived_table"]
        pages = [page for table in tables for page in client.get_paginator("scan").paginate(TableName=table)]
        rows = sorted(repr(sorted(item.items())) for page in pages for item in page["Items"])
        return [row for row in rows if of is None or of in row]

    def holds_a_token(self, account: str) -> bool:
        """Returns True if anything sealed is kept for an account."""
        return any("{'B': " in row for row in self.rows(of=account))

    def event(self, kind: str, account: str, **more) -> dict:
        """Waits for an event, which counts for one call only."""

        def look():
            self.unseen += self.events.new()
            for event in self.unseen:
                if event["type"] == kind and event["user_id"] == account:
                    self.unseen.remove(event)
                    return event

        event = eventually(f"{kind} arrives", look)
        check(f"{kind} says {more}", all(event.get(name) == value for name, value in more.items()), say=False)
        return event

    def no_event(self, account: str, *kinds: str) -> bool:
        self.unseen += self.events.new()
        return not any(event["type"] in kinds and event["user_id"] == account for event in self.unseen)


class Jar(requests.Session):
    """A browser without a window: cookies, and one step at a time."""

    def step(self, method: str, url: str, **more) -> requests.Response:
        return self.request(method, url, allow_redirects=False, timeout=PATIENCE, **more)

    def sign_in(self, name: str) -> "Jar":
        self.post(f"{APP}/sign-in", {"name": name}, timeout=PATIENCE)
        return self

    def start(self) -> str:
        """Presses "Connect", and returns the address of the session."""
        return self.step("POST", f"{APP}/connect").headers["location"]

    def at_meta(self, session_url: str) -> str:
        """Opens a session, and returns the address of Meta's consent page."""
        return self.step("GET", session_url).headers["location"]

    def agree(self, meta_url: str, account: str) -> str:
        """Consents as `account`, and returns the address of our callback."""
        return self.step("GET", meta_url, params={"auto_approve": account}).headers["location"]

    def consent(self, session_url: str, account: str) -> str:
        """Goes from the session's address to the end, and returns the address to which the app is
        returned."""
        answer = self.step("GET", self.agree(self.at_meta(session_url), account))
        check("a consent leads back", answer.status_code == 303, say=False)
        return answer.headers["location"]

    def shown(self) -> dict:
        """Returns the state of the user that the app's page shows."""
        return read(self.get(APP, timeout=PATIENCE).text)


def read(page: str) -> dict:
    return dict(re.findall(r'data-(user|status|account)="([^"]*)"', page))


class Task(threading.Thread):
    """A call that runs beside."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments, self.result = function, arguments, None
        self.start()

    def run(self):
        self.result = self.function(*self.arguments)

    def done(self):
        self.join()
        return self.result
