#!/usr/bin/env python3
"""Plume, a small app that leaves OAuth to Threads Auth.

    threads-auth dev --json --json-events events.jsonl > dev.json &
    python tests/webapp/app.py dev.json events.jsonl

Then open http://127.0.0.1:4000. Its users are names without passwords, and it forgets everything when it stops; the rest is how a
production app would go about it.
"""

import json
import logging
import pathlib
import secrets
import sys
from urllib.parse import quote

from flask import Flask, flash, g, redirect, render_template, request, session
from werkzeug.serving import make_server

from backend import Backend, Events

HOST, PORT = "127.0.0.1", 4000

app = Flask(__name__)
app.secret_key = secrets.token_bytes(32)
# Lax is what keeps other sites from pressing our buttons; the person who comes back from Threads
# still has the cookie.
app.config.update(SESSION_COOKIE_NAME="plume", SESSION_COOKIE_SAMESITE="Lax")

linked: dict[str, str] = {}  # a user of ours -> their Threads account
known: dict[str, dict] = {}  # a Threads account -> how it stands, as far as we were told


def learn(event: dict):
    """Applies an event to our users. Events may come twice, and change nothing then."""
    account = event["user_id"]
    if event["type"] == "account.deleted":
        known.pop(account, None)
        for user in [user for user, theirs in linked.items() if theirs == account]:
            del linked[user]
    else:
        known[account] = {**event["account"], "cause": event.get("cause") or event.get("by")}


@app.before_request
def who():
    for event in events.new():
        learn(event)
    g.user = session.get("user")
    if g.user is None and request.endpoint not in ("page", "sign_in"):
        flash("Please sign in first.")
        return redirect("/", 303)


@app.after_request
def private(response):
    # The address of `/connected` holds a code.
    response.headers.update({"cache-control": "no-store", "referrer-policy": "no-referrer"})
    return response


@app.get("/")
def page():
    account = linked.get(g.user)
    return render_template("page.html", user=g.user, account=account, standing=known.get(account, {}))


@app.post("/sign-in")
def sign_in():
    session["user"] = request.form["name"].strip()[:40] or None  # nobody, to sign out
    return redirect("/", 303)


@app.post("/connect")
def connect():
    way, account = {"method": "POST", "path": "/sessions", "body": {}}, linked.get(g.user)
    if account and (refused := backend.call("GET", f"/users/{account}/token")).status_code == 409:
        # Ready-made: it asks for the same account, and for what that has granted before.
        way = refused.json()["reconnect"]
    ours = {"reference": g.user, "return_to": f"http://{HOST}:{PORT}/connected"}
    answer = backend.call(way["method"], way["path"], way["body"] | ours)
    answer.raise_for_status()
    return redirect(answer.json()["url"], 303)


@app.get("/connected")
def connected():
    path, completion = f"/sessions/{quote(request.args.get('session_id', ''), safe='')}", request.args.get("completion")
    # Anybody can be made to open anybody's link. So the service hears who is logged in here, and
    # links nobody else.
    ours = {"completion": completion, "reference": g.user}
    if completion is None:
        ended = backend.call("GET", path).json()
        # A denial that Meta sends without a state is told to nobody but the person, by a hint that
        # anybody could forge: it may choose our words, and nothing else.
        hint = "denied" if ended.get("status") == "open" and request.args.get("status") == "denied" else None
        flash(f"Nothing was connected: {ended.get('reason') or hint or ended.get('status')}.")
    elif (answer := backend.call("POST", f"{path}/complete", ours)).ok:
        done = answer.json()
        linked[g.user] = done["user_id"]
        known[done["user_id"]] = {"status": "active", "username": done["username"]}
    else:
        flash(f"Nothing was connected: {answer.json()['error']['message']}.")
    return redirect("/", 303)


@app.post("/ask")
def ask():
    answer = backend.call("GET", f"/users/{linked.get(g.user, 0)}/token")
    if answer.ok:
        flash(f"Threads says: you are @{backend.who_is(answer.json()['access_token'])}.")
    else:
        flash(f"Threads was not asked: {answer.json()['error']['message']}.")
    return redirect("/", 303)


@app.post("/disconnect")
def disconnect():
    backend.call("DELETE", f"/users/{linked.get(g.user, 0)}").raise_for_status()
    return redirect("/", 303)


if __name__ == "__main__":
    backend, events = Backend(json.loads(pathlib.Path(sys.argv[1]).read_text())), Events(sys.argv[2])
    # It would log the address of `/connected`, with its code.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        server = make_server(HOST, PORT, app, threaded=True)
    except (OSError, SystemExit):
        sys.exit(f"plume: {HOST}:{PORT} is taken. In development people are sent back to that port only: free it, and try again.")
    print(f"Plume is on http://{HOST}:{PORT}", flush=True)
    server.serve_forever()
