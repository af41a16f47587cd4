#!/usr/bin/env python3
"""An app on Threads Auth, end to end: its people in two browsers, its signed calls, its events,
Meta's messages, and attacks.

    threads-auth dev --ephemeral --port 0 --json --json-events events.jsonl > dev.json &
    python tests/webapp/run.py dev.json events.jsonl [folder for screenshots]

It needs flask, boto3, selenium and requests (their versions are in `.ci/run`), Debian's chromium
and chromedriver, and the port 4000 of 127.0.0.1, where it starts `app.py`, which it ends.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time

import meta
import lured_user
from browser import Person
from stack import APP, DAY, Stack, Task, check

CALLERS = 200
# In seconds.
PATIENCE = 5


@contextlib.contextmanager
def app(addresses_file: str, events_file: str):
    """Runs `app.py`, and says what it says if it cannot."""
    program = pathlib.Path(__file__).with_name("app.py")
    process = subprocess.Popen([sys.executable, program, addresses_file, events_file], stdout=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline():
            sys.exit("webapp: FAILED: the app did not start; what it says is above")
        yield
    finally:
        process.terminate()
        process.wait()


def connecting(stack: Stack, mia: Person, jonas: Person):
    for person in (mia, jonas):
        person.sign_in()
        person.sees(status="none", account="")
    mia.screenshot("1-signed-in")
    # Both are at Meta at once, and come back in the other order.
    mia.press("/connect")
    jonas.press("/connect")
    for person in (jonas, mia):
        person.allow(person.account)
        person.sees(user=person.name, status="active", account=person.account)
        check(f"{person.name} came back to a clean address", person.address() == f"{APP}/", say=False)
        stack.event("account.connected", person.account, reconnected=False)
        stack.event("account.claimed", person.account, reference=person.name)
    mia.screenshot("2-connected")
    check("two users connected their own accounts, in two browsers", True)


def vending(stack: Stack, *people: Person):
    for person in people:
        person.press("/ask")
        person.reads(f"you are @{person.username}.")
        vended = stack.token(person.account).json()
        check("a token comes with its scopes and its end",
              vended["user_id"] == person.account and vended["token_type"] == "bearer" and vended["expires_at"]
              and vended["scopes"] == ["threads_basic"], say=False)
        check("a token speaks for its account", stack.who_is(vended["access_token"]) == person.username, say=False)
    people[0].screenshot("3-asked")
    check("each user's token works at Threads, and speaks for that user", True)


def reconnecting(stack: Stack, mia: Person, jonas: Person):
    stack.dev(f"accounts/{mia.account}/revoke")
    stack.advance(41 * DAY)
    stack.dev("sweep")
    stack.event("account.needs_reauthorization", mia.account, cause="app_removed")
    stack.event("account.refreshed", jonas.account)
    mia.sees(status="needs_reauthorization", account=mia.account)
    mia.screenshot("4-needs-reconnecting")
    check("an event told the app that an account needs its person", True)

    refused = stack.token(mia.account)
    error, way = refused.json()["error"], refused.json()["reconnect"]
    check("its token is refused with a ready-made way back",
          refused.status_code == 409 and error["code"] == "needs_reauthorization" and error["cause"] == "app_removed"
          and (way["method"], way["path"]) == ("POST", "/sessions")
          and way["body"] == {"user_id": mia.account, "scopes": ["threads_basic"]}
          and way["add"] == ["reference", "return_to"])

    before = stack.rows(of="user#")
    # As Meta does, the sandbox says no without a state.
    mia.press("/connect")
    mia.click("#deny")
    mia.reads("Nothing was connected: denied.")
    mia.screenshot("5-denied")
    mia.press("/connect")
    mia.allow(jonas.account)
    mia.reads("Nothing was connected: wrong_account.")
    mia.screenshot("5-another-account")
    mia.sees(status="needs_reauthorization", account=mia.account)
    check("a denial and another account are told to the app, and change neither account",
          stack.rows(of="user#") == before and stack.token(mia.account).status_code == 409
          and stack.token(jonas.account).ok)

    mia.press("/connect")
    mia.allow(mia.account)
    mia.sees(status="active", account=mia.account)
    stack.event("account.recovered", mia.account)
    mia.press("/ask")
    mia.reads(f"you are @{mia.username}.")
    check("the person came back with the account that was asked for, and its token works again",
          stack.who_is(stack.token(mia.account).json()["access_token"]) == mia.username)


def disconnecting(stack: Stack, jonas: Person):
    jonas.press("/disconnect")
    stack.event("account.disconnected", jonas.account, by="app")
    jonas.sees(status="revoked", account=jonas.account)
    jonas.screenshot("6-disconnected")
    refused = stack.token(jonas.account)
    check("a disconnected account has no token, here or in the tables",
          refused.status_code == 409 and refused.json()["error"]["code"] == "revoked"
          and refused.json()["error"]["cause"] == "app" and not stack.holds_a_token(jonas.account))
    before = stack.rows(of=jonas.account)
    again = stack.call("DELETE", f"/users/{jonas.account}")
    check("asking twice is as good as once", again.ok and stack.rows(of=jonas.account) == before)
    stack.advance(1)
    jonas.press("/connect")
    jonas.allow(jonas.account)
    jonas.sees(status="active", account=jonas.account)
    stack.event("account.connected", jonas.account, reconnected=False)
    check("and the person can connect it again", stack.token(jonas.account).ok)


def a_crowd(stack: Stack):
    account = stack.account("crowded")
    stack.connect(account)
    old = stack.token(account).json()["access_token"]
    stack.advance(41 * DAY)
    before = stack.refreshes(account)
    # Long enough for most of them to come before Meta's answer does, and far from what callers wait
    # for.
    stack.delay_refresh(account, 1_500)
    began = time.monotonic()
    callers = [Task(stack.token, account) for _ in range(CALLERS)]
    answers = [caller.done() for caller in callers]
    took = time.monotonic() - began
    statuses = {answer.status_code for answer in answers}
    # A caller that waits for longer than a sixth of REQUEST_SECONDS gets the token at hand, which
    # still works.
    patient = [answer for answer in answers if answer.elapsed.total_seconds() < PATIENCE]
    late = {answer.json().get("access_token") for answer in answers if answer not in patient}
    tokens = {answer.json().get("access_token") for answer in patient} | (late - {old})
    refreshes = stack.refreshes(account) - before
    check(f"{CALLERS} callers at once for one due token: statuses {sorted(statuses)}, {refreshes} refresh, "
          f"{len(tokens)} token, {took:.1f} s", statuses == {200} and refreshes == 1 and len(tokens) == 1)
    check("it is a new one, and works",
          old not in tokens and stack.who_is(tokens.pop()) == "crowded")


def main():
    # A proxy of the surroundings has no business with this machine's own addresses.
    os.environ["NO_PROXY"] = "127.0.0.1,localhost"
    addresses_file, events_file = sys.argv[1:3]
    shots = pathlib.Path(sys.argv[3]) if len(sys.argv) > 3 else None
    stack = Stack(json.loads(pathlib.Path(addresses_file).read_text()), events_file)
    began = time.monotonic()
    with contextlib.ExitStack() as open_things:
        open_things.enter_context(app(addresses_file, events_file))
        mia, jonas = (
            open_things.enter_context(Person(name, username, stack.account(username), shots))
            for name, username in (("Mia", "mia.writes"), ("Jonas", "jonas_k"))
        )
        for part, *of in (
            (connecting, mia, jonas),
            (vending, mia, jonas),
            (reconnecting, mia, jonas),
            (disconnecting, jonas),
            (lured_user.attacks,),
            (meta.forgeries, jonas),
            (meta.deauthorization, jonas),
            (meta.deletion, mia),
            (meta.during_a_refresh,),
            (a_crowd,),
        ):
            started = time.monotonic()
            part(stack, *of)
            print(f"webapp: -- {part.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    print(f"webapp: all of it in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
