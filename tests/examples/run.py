#!/usr/bin/env python3
"""Runs the examples of a backend against a stack that runs, and plays the person who consents.

    threads-auth dev --ephemeral --port 0 --json > dev.json &
    python tests/examples/run.py dev.json -- python tests/examples/backend.py
"""

import json
import os
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import requests

DAY = 86_400
ONCE = {"allow_redirects": False, "timeout": 20}


def main():
    addresses = json.load(open(sys.argv[1], encoding="utf-8"))
    example = sys.argv[sys.argv.index("--") + 1 :]
    service, threads = addresses["service_url"], addresses["threads_url"]
    environment = os.environ | {
        "THREADS_AUTH_URL": service,
        "AWS_REGION": addresses["region"],
        "AWS_ACCESS_KEY_ID": addresses["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": addresses["secret_access_key"],
        "RETURN_TO": "http://127.0.0.1:4000/done",
    }

    def run(*arguments: str, fails: bool = False) -> dict:
        done = subprocess.run([*example, *arguments], env=environment, capture_output=True, text=True, timeout=60)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return json.loads(done.stdout)

    def consent(session: dict, user_id: str) -> str:
        browser = requests.Session()
        at_meta = browser.get(session["url"], **ONCE).headers["location"]
        back = requests.get(f"{at_meta}&auto_approve={user_id}", **ONCE).headers["location"]
        landed = browser.get(back.split("#")[0], **ONCE).headers["location"]
        return parse_qs(urlsplit(landed).query)["completion"][0]

    user_id = requests.post(f"{threads}/control/accounts", json={"username": f"example{os.getpid()}"}, timeout=20).json()["user_id"]
    session = run("start", "user-7")
    completion = consent(session, user_id)
    wrong = run("complete", session["id"], "no such code", "user-7", fails=True)
    assert wrong["error"]["code"] == "wrong_completion", wrong
    wrong = run("complete", session["id"], completion, "user-8", fails=True)
    assert wrong["error"]["code"] == "wrong_reference", wrong
    connected = run("complete", session["id"], completion, "user-7")
    assert connected["user_id"] == user_id, connected
    assert run("complete", session["id"], completion, "user-7") == connected, "the answer may have been lost"
    vended = run("token", user_id)
    me = requests.get(f"{threads}/v1.0/me", params={"access_token": vended["access_token"]}, timeout=20)
    assert me.json()["id"] == user_id, me.text
    # The person removes the app, which the next refresh finds out; and comes back through the
    # session that the refusal leads to.
    requests.post(f"{service}/dev/accounts/{user_id}/revoke", timeout=20).raise_for_status()
    requests.post(f"{service}/dev/clock", json={"advance_seconds": 41 * DAY}, timeout=20).raise_for_status()
    session = run("token", user_id)
    assert session["status"] == "open", session
    again = run("complete", session["id"], consent(session, user_id), "user-7")
    assert again["user_id"] == user_id, again
    print(f"example: {example[-1]}: connected, vended, refused, reconnected")


main()
