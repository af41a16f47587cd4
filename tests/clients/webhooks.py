#!/usr/bin/env python3
"""Standard Webhooks' own libraries, of Python and of Node, against what `dev --webhook` posts.

    python tests/clients/webhooks.py THREADS_AUTH FOLDER

THREADS_AUTH is the built command; FOLDER has `webhooks.mjs` with its packages beside it, and the
Python package is in `requirements.txt`. The receiver is down when the event comes, and fails once
it is up. Then the secret is rotated, and a receiver with either one verifies.
"""

import http.server
import json
import os
import pathlib
import queue
import socket
import subprocess
import sys
import tempfile
import threading

import requests
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECONDS = 120
ONCE = {"allow_redirects": False, "timeout": SECONDS}
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


class Receiver:
    """Knows its port from the first, and listens once it is told to."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/threads"
        self.posts, self.answers = queue.Queue(), [500]

    def listen(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.posts.put(({name: self.headers[name] for name in HEADERS}, body))
                self.send_response(receiver.answers.pop() if receiver.answers else 204)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self.socket
        server.server_activate()
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def next(self):
        return self.posts.get(timeout=SECONDS)


class Threads:
    """The stack of `threads-auth dev`."""

    def __init__(self, command, folder, webhook):
        self.command, self.folder = command, folder
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "SECRETS_TTL_SECONDS": "1"}
        start = [command, "dev", "--ephemeral", "--port", "0", "--json", "--webhook", webhook]
        self.log = open(pathlib.Path(folder, "dev.log"), "w+")
        self.process = subprocess.Popen(start, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.addresses = json.loads(self.process.stdout.readline())

    def run(self, *arguments):
        local = f"--local={self.addresses['service_url']}"
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder}
        return subprocess.run([self.command, *arguments, local], env=environment, cwd=self.folder, check=True, capture_output=True, text=True, timeout=SECONDS).stdout.strip()

    def connect(self, username):
        service, threads = self.addresses["service_url"], self.addresses["threads_url"]
        accounts = requests.get(f"{threads}/control/accounts", timeout=SECONDS).json()["accounts"]
        user_id = next(account["user_id"] for account in accounts if account["username"] == username)
        browser = requests.Session()
        consent = browser.get(f"{service}/authorize", **ONCE).headers["location"]
        back = requests.get(f"{consent}&auto_approve={user_id}", **ONCE).headers["location"]
        assert browser.get(back.split("#")[0], **ONCE).status_code == 303
        return user_id


def by_python(secret, headers, body):
    try:
        return Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return None


def by_node(folder, secret, headers, body):
    given = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
    done = subprocess.run(["node", pathlib.Path(folder, "webhooks.mjs")], input=given, check=True, capture_output=True, text=True, timeout=SECONDS)
    return json.loads(done.stdout)


def main(command, node):
    receiver, checks = Receiver(), 0
    with tempfile.TemporaryDirectory() as folder:
        threads = Threads(pathlib.Path(command).resolve(), folder, receiver.url)

        def verified(secret, headers, body, expected):
            nonlocal checks
            for found in (by_python(secret, headers, body), by_node(node, secret, headers, body)):
                assert found == expected, (found, expected)
                checks += 1

        try:
            old = threads.run("webhook", "secret")
            user_id = threads.connect("ada")
            # Two attempts at a closed port are in the log before the receiver is there.
            while pathlib.Path(folder, "dev.log").read_text().count("not_delivered") < 2:
                threads.process.poll() is None or sys.exit("dev has ended")
            receiver.listen()
            refused, delivered = receiver.next(), receiver.next()
            assert refused[0]["webhook-id"] == delivered[0]["webhook-id"], "the same event, once more"
            for headers, body in (refused, delivered):
                event = json.loads(body)
                assert (event["id"], event["type"], event["user_id"]) == (headers["webhook-id"], "account.connected", user_id)
                verified(old, headers, body, event)
            headers, body = delivered
            verified(old, headers, body.replace(user_id.encode(), b"17841400000000000"), None)
            verified(old, headers | {"webhook-id": "another"}, body, None)
            verified(old, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) - 600)}, body, None)

            threads.run("webhook", "rotate")
            new = threads.run("webhook", "secret")
            # The secret before goes on being used for its second of life.
            seen = None
            while not seen or " " not in seen[0]["webhook-signature"]:
                threads.connect("grace")
                seen = receiver.next()
            for secret in (old, new):
                verified(secret, *seen, json.loads(seen[1]))
            # Receivers have the real time, whatever the clock of `dev` was moved to.
            service = threads.addresses["service_url"]
            requests.post(f"{service}/dev/clock", json={"advance_seconds": 41 * 86_400}, timeout=SECONDS).raise_for_status()
            requests.post(f"{service}/dev/sweep", timeout=SECONDS).raise_for_status()
            while json.loads(seen[1])["type"] != "account.refreshed":
                seen = receiver.next()
            verified(new, *seen, json.loads(seen[1]))
            log = pathlib.Path(folder, "dev.log").read_text()
            assert not any(secret.removeprefix("whsec_") in log for secret in (old, new)), "a secret in the log"
        finally:
            threads.process.terminate()
            threads.process.wait(timeout=SECONDS)
            threads.log.close()
    print(f"webhooks: {checks} verdicts of standardwebhooks for Python and Node are as they should be")


if __name__ == "__main__":
    main(*sys.argv[1:])
