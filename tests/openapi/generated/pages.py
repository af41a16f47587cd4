#!/usr/bin/env python3
"""Runs the programs of docs/PYTHON.md and docs/TYPESCRIPT.md against a stack that runs.

    python tests/openapi/generated/pages.py --extract FOLDER
    threads-auth dev --ephemeral --port 0 --json > dev.json &
    python tests/openapi/generated/pages.py dev.json NAME -- COMMAND...

The first writes them to FOLDER as app.py and app.ts. The second starts one of them, plays its
people, and counts what it asks the stack for, through a proxy that can be out of order. The
program's clock moves an hour ahead with each SIGUSR2, by clock.py or clock.mjs; webhooks come
before that, since the two libraries look at different clocks.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from standardwebhooks import Webhook

PAGES = {"PYTHON.md": "app.py", "TYPESCRIPT.md": "app.ts"}
LINES = 120
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DAY = 86_400
ONCE = {"allow_redirects": False, "timeout": 60}


def extract(folder: str) -> None:
    docs = Path(__file__).resolve().parents[3] / "docs"
    for page, name in PAGES.items():
        code = re.search(r"^```(?:python|ts)\n(.*?)^```$", (docs / page).read_text(encoding="utf-8"), re.M | re.S)[1]
        assert len(code.splitlines()) <= LINES, f"{page}: {len(code.splitlines())} lines"
        Path(folder, name).write_text(code, encoding="utf-8")


class Proxy(ThreadingHTTPServer):
    """Passes requests on as they are, remembers those for tokens, and fails them if told to."""

    daemon_threads = True

    def __init__(self, service: str):
        super().__init__(("127.0.0.1", 0), Passing)
        self.service, self.asked, self.fails = service, [], False
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Passing(BaseHTTPRequestHandler):
    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        if url.path.endswith("/token"):
            self.server.asked.append(parse_qs(url.query).get("refused", [None])[0])
            if self.server.fails:
                return self.say(503, b'{"error": {"code": "unavailable", "message": "a text"}}', {"retry-after": "60"})
        answer = requests.request(self.command, self.server.service + self.path, data=body, headers=dict(self.headers), **ONCE)
        self.say(answer.status_code, answer.content, {name: answer.headers[name] for name in ["retry-after"] if name in answer.headers})

    def say(self, status: int, body: bytes, headers: dict):
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class App:
    """The program, and the person who uses it."""

    def __init__(self, addresses: dict, command: list[str]):
        self.addresses, self.proxy = addresses, Proxy(addresses["service_url"].rstrip("/"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.home = f"http://127.0.0.1:{port}"
        environment = os.environ | {
            "THREADS_AUTH_URL": f"http://127.0.0.1:{self.proxy.server_port}",
            "THREADS_GRAPH_URL": addresses["threads_url"],
            "AWS_REGION": addresses["region"],
            "AWS_ACCESS_KEY_ID": addresses["access_key_id"],
            "AWS_SECRET_ACCESS_KEY": addresses["secret_access_key"],
            "WEBHOOK_SECRET": SECRET,
            "PORT": str(port),
        }
        self.process = subprocess.Popen(command, env=environment)
        while self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        sys.exit("pages: FAILED: the program has ended")

    def get(self, path: str) -> requests.Response:
        return requests.get(self.home + path, **ONCE)

    def me(self, times: int = 1) -> list[requests.Response]:
        with ThreadPoolExecutor(times) as callers:
            return list(callers.map(lambda _: self.get("/me"), range(times)))

    def connect(self, url: str, user_id: str) -> dict:
        """A person's browser, from a session's URL back to the program."""
        browser = requests.Session()
        at_meta = browser.get(url, **ONCE).headers["location"]
        back = requests.get(f"{at_meta}&auto_approve={user_id}", **ONCE).headers["location"]
        landed = browser.get(back.split("#")[0], **ONCE).headers["location"]
        assert landed.startswith(f"{self.home}/connected?"), landed
        return requests.get(landed.split("#")[0], **ONCE).json()

    def hour(self):
        self.process.send_signal(signal.SIGUSR2)

    def deliver(self, event: dict, secret: str = SECRET, age: int = 0) -> int:
        signed_at, body = datetime.now(timezone.utc) - timedelta(seconds=age), json.dumps(event)
        headers = {
            "webhook-id": event["id"],
            "webhook-timestamp": str(int(signed_at.timestamp())),
            "webhook-signature": Webhook(secret).sign(event["id"], signed_at, body),
        }
        return requests.post(f"{self.home}/webhook", data=body, headers=headers, timeout=60).status_code

    def control(self, path: str, body: dict | None = None) -> dict:
        answer = requests.post(f"{self.addresses['threads_url']}/control/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer.json() if answer.content else {}

    def count(self) -> int:
        return len(self.proxy.asked)


def play(app: App, name: str) -> str:
    user_id = app.control("accounts", {"username": f"{name}{os.getpid()}"})["user_id"]
    started = app.get("/connect")
    assert started.status_code == 303, started.text
    connected = app.connect(started.headers["location"], user_id)
    assert connected["user_id"] == user_id, connected

    def works(times: int, requests_: int):
        before = app.count()
        for answer in app.me(times):
            assert answer.json().get("id") == user_id, answer.text
        assert app.count() - before == requests_, (app.proxy.asked, requests_)

    works(50, 1)
    works(10, 0)
    # A webhook says that the account has changed, and the stack is out of order: nobody gets a
    # token, and a later call asks again.
    app.proxy.fails = True
    event = {"version": "1", "id": "an-id", "type": "account.refreshed", "user_id": user_id, "order": "100000000000000000000001"}
    assert app.deliver(event) < 300
    answers = app.me(10)
    assert {answer.status_code for answer in answers} == {503}, answers[0].text
    app.proxy.fails = False
    works(10, 1)
    assert app.deliver(event | {"order": "99999999999999999999"}) < 300
    works(1, 0)
    assert app.deliver(event | {"order": "100000000000000000000002"}) < 300
    works(1, 1)
    assert app.deliver(event, secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD") == 400
    assert app.deliver(event, age=301) == 400
    assert requests.post(f"{app.home}/webhook", json=event, timeout=60).status_code == 400
    works(1, 0)
    # An hour later it is asked for once. The stack is out of order: the last one does.
    app.proxy.fails = True
    app.hour()
    works(10, 1)
    works(10, 0)
    app.proxy.fails = False
    app.hour()
    works(10, 1)

    # Another backend has let it be replaced, and the old one is dead.
    first = app.proxy.asked[:]
    app.control("old-token", {"behaviour": "new_token_old_dead"})
    requests.post(f"{app.addresses['service_url']}/dev/clock", json={"advance_seconds": 41 * DAY}, timeout=60).raise_for_status()
    requests.post(f"{app.addresses['service_url']}/dev/sweep", timeout=60).raise_for_status()
    answers = app.me(20)
    assert all(answer.json().get("id") == user_id for answer in answers), answers[0].text
    asked = app.proxy.asked[len(first):]
    assert len(asked) == 1 and len(asked[0]) == len(sha256().hexdigest()), asked
    works(10, 0)

    # The person removes the app, which Meta tells nobody, and comes back.
    app.control(f"accounts/{user_id}/revoke")
    before = app.count()
    answers = app.me(10)
    assert {answer.status_code for answer in answers} == {303}, answers[0].text
    assert app.count() - before <= 10 and app.proxy.asked[before], app.proxy.asked[before:]
    connected = app.connect(answers[0].headers["location"], user_id)
    assert connected["user_id"] == user_id, connected
    works(10, 1)
    return f"{name}: connected, called, told by webhooks, replaced, reconnected; {app.count()} requests for tokens"


def main(dev: str, name: str, command: list[str]) -> None:
    app = App(json.loads(Path(dev).read_text(encoding="utf-8")), command)
    try:
        print(play(app, name))
    finally:
        app.process.terminate()
        app.process.wait(20)
        app.proxy.shutdown()


if sys.argv[1] == "--extract":
    extract(sys.argv[2])
else:
    main(sys.argv[1], sys.argv[2], sys.argv[4:])
