#!/usr/bin/env python3
"""The events' JSON schema against the events of a run, and against what no event may be.

    threads-auth dev --ephemeral --port 0 --json --json-events events.jsonl > dev.json &
    python tests/openapi/events.py dev.json events.jsonl

It brings about an event of each type, and needs jsonschema, requests and boto3. What released
versions have published, in tests/golden, must fit the schema of today too.
"""

import copy
import json
import pathlib
import sys
import time
from urllib.parse import parse_qs, urlsplit

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from jsonschema import Draft202012Validator

ROOT = pathlib.Path(__file__).parent.parent.parent
SCHEMA = ROOT / "functions/events/schema.json"
DAY = 86_400
ONCE = {"allow_redirects": False, "timeout": 20}


class Stack:
    def __init__(self, addresses: dict):
        self.addresses, self.service, self.threads = addresses, addresses["service_url"], addresses["threads_url"]

    def post(self, url: str, **more) -> dict:
        answer = requests.post(url, timeout=60, **more)
        answer.raise_for_status()
        return answer.json()

    def connect(self, user_id: str, query: dict | None = None) -> str:
        """Connects the account, and says where its browser ends."""
        browser = requests.Session()
        query = query or {"scopes": "threads_basic,threads_content_publish"}
        consent = browser.get(f"{self.service}/authorize", params=query, **ONCE).headers["location"]
        back = requests.get(f"{consent}&auto_approve={user_id}", **ONCE).headers["location"]
        landed = browser.get(back.split("#")[0], **ONCE)
        assert landed.status_code == 303
        return landed.headers["location"]

    def connect_in_session(self, user_id: str, is_completed: bool):
        new = {"reference": "user-7", "return_to": "http://127.0.0.1:4000/done"}
        session = self.signed("POST", "/sessions", new)["id"]
        landed = self.connect(user_id, {"session": session})
        if is_completed:
            code = parse_qs(urlsplit(landed).query)["completion"][0]
            self.signed("POST", f"/sessions/{session}/complete", {"completion": code, "reference": "user-7"})

    def damage(self, user_id: str):
        """Takes from the account's row what no refresh can do without."""
        table = boto3.client(
            "dynamodb",
            endpoint_url=self.addresses["dynamodb_url"],
            region_name=self.addresses["region"],
            aws_access_key_id=self.addresses["access_key_id"],
            aws_secret_access_key=self.addresses["secret_access_key"],
        )
        key = {"pk": {"S": f"user#{user_id}"}}
        table.update_item(TableName=self.addresses["grants_table"], Key=key, UpdateExpression="REMOVE expires_at")

    def pass_days(self, days: int):
        self.post(f"{self.service}/dev/clock", json={"advance_seconds": days * DAY})
        self.post(f"{self.service}/dev/sweep")

    def signed(self, method: str, path: str, body: dict | None = None) -> dict:
        data = None if body is None else json.dumps(body)
        request = AWSRequest(method, self.service + path, {"content-type": "application/json"}, data)
        keys = Credentials(self.addresses["access_key_id"], self.addresses["secret_access_key"])
        SigV4Auth(keys, "execute-api", self.addresses["region"]).add_auth(request)
        answer = requests.request(method, request.url, headers=dict(request.headers), data=data, timeout=20)
        answer.raise_for_status()
        return answer.json()

    def disconnect(self, user_id: str):
        self.signed("DELETE", f"/users/{user_id}")

    def delete(self, user_id: str):
        signed = requests.get(f"{self.threads}/control/accounts/{user_id}/signed-request", timeout=20).json()
        self.post(f"{self.service}/data-deletion", data=signed)


def account(stack: Stack, private: bool = False) -> str:
    """A new account."""
    new = {"username": f"life{time.time_ns()}", "private": private}
    return stack.post(f"{stack.threads}/control/accounts", json=new)["user_id"]


def connected(stack: Stack, private: bool) -> str:
    """A new account, connected."""
    user_id = account(stack, private)
    stack.connect(user_id)
    return user_id


def live(stack: Stack) -> tuple[str, ...]:
    """An account that sees everything, one whose row somebody damages, and two of sessions: the one
    completed, the other not."""
    claimed, unclaimed = account(stack), account(stack)
    stack.connect_in_session(claimed, is_completed=True)
    stack.connect_in_session(unclaimed, is_completed=False)
    damaged = connected(stack, private=False)
    stack.damage(damaged)
    user_id = connected(stack, private=True)
    stack.post(f"{stack.threads}/control/accounts/{user_id}/withdraw", json={"scope": "threads_content_publish"})
    stack.pass_days(41)
    stack.delete(damaged)
    stack.pass_days(36)
    stack.pass_days(14)
    stack.connect(user_id)
    stack.disconnect(user_id)
    stack.connect(user_id)
    for done in (claimed, unclaimed, user_id):
        stack.delete(done)
    return damaged, claimed, unclaimed, user_id


def lines(file: str, user_id: str, until: str) -> list[dict]:
    """All events, when the last one of the account is there."""
    for _ in range(600):
        with open(file, encoding="utf-8") as events:
            found = [json.loads(line) for line in events if line.endswith("\n")]
        if any(event["detail"]["user_id"] == user_id and event["detail-type"] == until for event in found):
            return found
        time.sleep(0.1)
    sys.exit(f"events: no {until} of {user_id} within a minute")


def broken(event: dict):
    """Yields events that break the schema, by one change each."""

    def changed(change) -> dict:
        other = copy.deepcopy(event)
        change(other)
        return other

    yield changed(lambda e: e.update(source="someone-else"))
    yield changed(lambda e: e["detail"].update(version="2"))
    yield changed(lambda e: e["detail"].update(type="account.exploded"))
    yield changed(lambda e: e["detail"].update(access_token="THQVJ"))
    yield changed(lambda e: e["detail"].update(user_id=17841405793187218))
    yield changed(lambda e: e["detail"].update(order="0" + e["detail"]["order"]))
    yield changed(lambda e: e["detail"].update(order=int(e["detail"]["order"])))
    # Not every connect has a session, and only a claim has a user for sure. Events of before have
    # no order.
    optional = {"session_id", "order"} | ({"reference"} if event["detail-type"] != "account.claimed" else set())
    for name in event["detail"].keys() - optional:
        yield changed(lambda e, name=name: e["detail"].pop(name))
    if "account" in event["detail"]:
        yield changed(lambda e: e["detail"]["account"].update(token="THQVJ"))
        yield changed(lambda e: e["detail"]["account"].pop("status"))
    else:
        yield changed(lambda e: e["detail"].update(account={}))


def main():
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    with open(sys.argv[1], encoding="utf-8") as file:
        stack = Stack(json.load(file))
    user_ids = live(stack)
    events = [lines(sys.argv[2], user_id, "account.deleted") for user_id in user_ids][-1]
    refused = 0
    for event in events:
        validator.validate(event)
        assert event["detail-type"] == event["detail"]["type"], event
        for other in broken(event):
            assert not validator.is_valid(other), other
            refused += 1
    types = {event["detail-type"] for event in events if event["detail"]["user_id"] in user_ids}
    assert types == set(schema["$defs"]["type"]["enum"]), types
    files = sorted(ROOT.glob("tests/golden/*/events/*.json"))
    golden = [event for file in files for event in json.loads(file.read_text())["published"]]
    # 0.1.0 announced no row that made no sense, and nobody claimed an account.
    assert {event["detail-type"] for event in golden} == types - {"account.unreadable", "account.claimed"}
    ends = [event["detail"].get("deadline") or event["detail"].get("by") for event in events
            if event["detail"]["user_id"] == user_ids[2]]
    assert ends == [None, "claim", "unclaimed", None], ends
    for event in golden:
        validator.validate(event)
    for user_id in user_ids:
        own = [event["detail"] for event in events if event["detail"]["user_id"] == user_id]
        orders = [(len(detail["order"]), detail["order"]) for detail in own]
        assert orders == sorted(orders) and len(set(orders)) > 1, orders
        # Nothing but a claim gives an account to a user, and its end does not take it away.
        whose = [detail.get("reference") for detail in own]
        first = whose.index("user-7") if user_id == user_ids[1] else len(whose)
        assert whose == [None] * first + ["user-7"] * (len(whose) - first), whose
    ids = [event["detail"]["id"] for event in events]
    assert len(ids) == len(set(ids))
    print(f"events: {len(events)} of {len(types)} types and {len(golden)} golden ones fit their schema, {refused} broken ones do not")


main()
