#!/usr/bin/env python3
"""ThreadsPipe 0.4.5 against the sandbox: an existing client gets and refreshes its tokens there as
it does at Meta.

    threads-auth dev --ephemeral --port 0 --json > dev.json &
    python tests/threadspipe/run.py dev.json

It installs and starts nothing: it needs threadspipepy==0.4.5, requests and python-dotenv, and a
stack that runs.
"""

import contextlib
import io
import json
import logging
import os
import pathlib
import sys
import tempfile
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import requests
from threadspipepy import cli
from threadspipepy.threadspipe import ThreadsPipe

import consent

META = "https://graph.threads.net"
REDIRECT_URI = "https://app.example/callback"
APP_SECRET = "sandbox-app-secret"
SECONDS = 20
DAY = 86_400


class Sandbox:
    """The stack that runs, as a script sees it."""

    def __init__(self, addresses: dict):
        self.service = addresses["service_url"].rstrip("/")
        self.threads = addresses["threads_url"].rstrip("/")
        state = self.call("GET", f"{self.threads}/control/state").json()
        self.app_id = state["app_id"]
        self.user_id = state["accounts"][0]["user_id"]

    def call(self, method: str, url: str, **more) -> requests.Response:
        answer = requests.request(method, url, timeout=SECONDS, allow_redirects=False, **more)
        answer.raise_for_status()
        return answer

    def authorize(self) -> str:
        """Consents, as a person would, and returns the code."""
        query = consent.query(self.app_id, self.user_id, REDIRECT_URI)
        location = self.call("GET", f"{self.threads}/oauth/authorize", params=query).headers["location"]
        back = parse_qs(urlsplit(location).query)
        check("the consent leads back with the state", back["state"] == ["a-state"])
        return back["code"][0]

    def advance(self, seconds: int):
        self.call("POST", f"{self.service}/dev/clock", json={"advance_seconds": seconds})

    def username(self, token: str) -> str:
        query = {"fields": "id,username", "access_token": token}
        return self.call("GET", f"{self.threads}/v1.0/me", params=query).json()["username"]


def check(what: str, holds: bool):
    if not holds:
        sys.exit(f"threadspipe: FAILED: {what}")
    print(f"threadspipe: {what}", flush=True)


def in_place_of_meta(sandbox: Sandbox):
    """Sends what is meant for Meta to the sandbox, and lets nothing else out.

    Two endpoints are class attributes; the third, and all of the command line's, are written into
    the code.
    """

    def redirected(real):
        def send(url, *rest, **more):
            url = url.replace(META, sandbox.threads, 1)
            if not url.startswith(sandbox.threads):
                raise AssertionError("a request to somewhere else")
            return real(url, *rest, timeout=SECONDS, **more)

        return send

    patches = contextlib.ExitStack()
    attributes = {
        "__threads_access_token_endpoint__": f"{sandbox.threads}/oauth/access_token",
        "__threads_access_token_refresh_endpoint__": f"{sandbox.threads}/refresh_access_token",
    }
    for name, value in attributes.items():
        patches.enter_context(mock.patch.object(ThreadsPipe, name, value))
    for method in ("get", "post"):
        patches.enter_context(mock.patch.object(requests, method, redirected(getattr(requests, method))))
    return patches


def command(*arguments: str) -> str:
    """Runs `threadspipepy` as the command line would, and returns what it printed."""
    printed = io.StringIO()
    with mock.patch.object(sys, "argv", ["threadspipepy", *arguments]), contextlib.redirect_stdout(printed):
        with contextlib.suppress(SystemExit):
            cli.run()
    return printed.getvalue()


def library(sandbox: Sandbox):
    pipe = ThreadsPipe(user_id=sandbox.user_id, access_token="none-yet", disable_logging=True)
    code = sandbox.authorize()
    got = pipe.get_access_tokens(sandbox.app_id, APP_SECRET, code, REDIRECT_URI)
    check("get_access_tokens returns this person's tokens", str(got.get("user_id")) == sandbox.user_id)
    long_lived = got["tokens"]["long_lived"]
    check("the long-lived token is a bearer token for about 60 days",
          long_lived["token_type"] == "bearer" and 59 * DAY < long_lived["expires_in"] <= 60 * DAY)
    token = long_lived["access_token"]
    check("it is another one than the short-lived token", token != got["tokens"]["short_lived"]["access_token"])
    check("it speaks for the person", sandbox.username(token) != "")

    again = pipe.get_access_tokens(sandbox.app_id, APP_SECRET, code, REDIRECT_URI)
    check("a spent code gives nothing", again.get("message") == "Could not generate short lived token")
    early = pipe.refresh_token(token)
    check("a token younger than a day is not refreshed",
          early.get("message") == "An error occured could not refresh access token")

    sandbox.advance(2 * DAY)
    refreshed = pipe.refresh_token(token)
    check("refresh_token works after two days, for about 60 more",
          59 * DAY < refreshed.get("expires_in", 0) <= 60 * DAY)
    check("the refreshed token speaks for the person", sandbox.username(refreshed["access_token"]) != "")


def command_line(sandbox: Sandbox):
    with tempfile.TemporaryDirectory() as folder:
        env = pathlib.Path(folder, ".env")
        env.touch()
        kept = ("--env_path", str(env), "--env_variable", "long_lived_token")

        def token() -> str:
            return cli.get_key(str(env), "long_lived_token")

        code = sandbox.authorize()
        command("access_token", "--app_id", sandbox.app_id, "--app_secret", APP_SECRET, "--auth_code", code,
                "--redirect_uri", REDIRECT_URI, "--silent=true", *kept)
        first = token()
        check("the command access_token keeps a token that works", sandbox.username(first) != "")
        sandbox.advance(2 * DAY)
        command("refresh_token", "--auto_mode=true", "--silent=true", *kept)
        check("the command refresh_token keeps a newer one that works",
              token() != first and sandbox.username(token()) != "")


def main():
    # The command line logs every address, tokens included.
    logging.disable()
    # A proxy of the surroundings has no business with this machine's own addresses.
    os.environ["NO_PROXY"] = "127.0.0.1"
    sandbox = Sandbox(json.loads(pathlib.Path(sys.argv[1]).read_text()))
    with in_place_of_meta(sandbox):
        library(sandbox)
        command_line(sandbox)


if __name__ == "__main__":
    main()
