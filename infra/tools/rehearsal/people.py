"""People connect, and Meta says that they leave."""

import base64
import hashlib
import hmac
import json
import time
import urllib.parse

from .stage import DOMAIN, ENDPOINT, Browser, call, client, expect


def begin(stage, username, target="/authorize"):
    """A person begins a login, with a cookie jar, through the emulated HTTP API, and consents."""
    user_id = stage.control("POST", "/accounts", {"username": username})["user_id"]
    browser = Browser()
    start = browser.get(target)
    expect("a redirect to Threads", start.status == 302, start.body[:500])
    expect("a sealed cookie", start.cookies and all(c.startswith("__Host-") for c in start.cookies), start.cookies)
    consent = urllib.parse.urlsplit(start.headers["location"])
    approved = call(stage.threads.netloc, stage.threads.port, "GET", f"{consent.path}?{consent.query}&auto_approve={user_id}")
    back = urllib.parse.urlsplit(approved.headers["location"])
    expect("a redirect back to us", (back.scheme, back.netloc, back.path) == ("https", DOMAIN, "/callback"), approved.headers)
    query = urllib.parse.parse_qs(back.query)
    stage.canaries += [query["code"][0], query["state"][0]]
    return user_id, browser, back


def finish(stage, login):
    """The same browser comes back from Threads: who it is, and where they end."""
    user_id, browser, back = login
    done = browser.get(f"{back.path}?{back.query}")
    expect("connected", done.status == 303, done.body[:500])
    again = browser.get(f"{back.path}?{back.query}")
    same = again.status == 303 and "completion=" in again.headers["location"] and again.headers["location"] == done.headers["location"]
    expect("a callback works once, or leads to the same code", again.status >= 400 or same, again.status)
    return user_id, done.headers["location"]


def connect(stage, username, target="/authorize"):
    return finish(stage, begin(stage, username, target))


def login(stage):
    """Ada connects; her token is sealed."""
    stage.ada, location = connect(stage, "ada")
    expect("a clean address", location == "/connected", location)
    page = Browser().get(location)
    expect("a page", page.status == 200 and "default-src 'none'" in page.headers["content-security-policy"], page.body[:500])
    row = stage.row(stage.ada)
    expect("an active grant", row["status"]["S"] == "active" and "B" in row["token"], row.keys())


def callback_of_another_browser(stage):
    """A callback without its cookie is refused, and Threads gets no call."""
    calls = len(stage.control("GET", "/calls")["calls"])
    answer = Browser().get("/callback?code=forged&state=" + "A" * 43)
    expect("refused", answer.status == 400, answer.status)
    expect("no call", len(stage.control("GET", "/calls")["calls"]) == calls)


def nowhere(stage):
    """A path or method that does not exist has a page, and beneath the backend's paths an error for
    programs, signed or not."""
    # The emulator answers OPTIONS by itself, where API Gateway without CORS does not.
    for method, path in (("GET", "/nowhere"), ("GET", "/"), ("POST", "/authorize"), ("PUT", "/callback")):
        answer = call(DOMAIN, ENDPOINT.port, method, path)
        expect(f"a page for {method} {path}", answer.status == 404 and "<code>not_found</code>" in answer.body, answer.body[:500])
    for method, path in (("GET", "/users/1/x"), ("POST", "/users"), ("DELETE", "/sessions")):
        answer = call(DOMAIN, ENDPOINT.port, method, path)
        expect(f"an error for {method} {path}", answer.status == 404 and answer.json()["error"]["code"] == "not_found", answer.body)


def meta_calls(stage, path, user_id):
    """Posts as Meta does, signed with the app's secret."""
    payload = {"algorithm": "HMAC-SHA256", "issued_at": int(time.time()), "user_id": user_id}
    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    payload = encode(json.dumps(payload).encode())
    signature = encode(hmac.new(json.loads(stage.app)["app_secret"].encode(), payload.encode(), hashlib.sha256).digest())
    form = urllib.parse.urlencode({"signed_request": f"{signature}.{payload}"})
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return call(DOMAIN, ENDPOINT.port, "POST", path, headers, form)


def deauthorize(stage):
    """Grace removes the app, and Meta reports it: her tokens are destroyed. A forged message does
    nothing."""
    grace, _ = connect(stage, "grace")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    forged = call(DOMAIN, ENDPOINT.port, "POST", "/deauthorize", headers, "signed_request=AAAA.e30")
    expect("a forged message is refused", forged.status == 400, forged.status)
    expect("and changes nothing", stage.row(grace)["status"]["S"] == "active")
    answer = meta_calls(stage, "/deauthorize", grace)
    expect("an answer", answer.status == 200, answer.body)
    row = stage.row(grace)
    expect("no token is left", row["status"]["S"] == "revoked" and "token" not in row, row.keys())
    stage.grace = grace


def deletion(stage):
    """Grace and Linus want to be forgotten, and Meta reports it: no table names them, and a page
    shows that."""
    for person in (stage.grace, stage.linus):
        answer = meta_calls(stage, "/data-deletion", person)
        expect("an answer", answer.status == 200, answer.body)
        url = urllib.parse.urlsplit(answer.json()["url"])
        expect("an address of ours", url.netloc == DOMAIN, url)
        page = call(DOMAIN, ENDPOINT.port, "GET", url.path)
        expect("a page", page.status == 200, page.status)
        left = [
            item
            for table in (stage.outputs["GrantsTableName"], stage.outputs["ShortLivedTableName"])
            for item in client("dynamodb").scan(TableName=table)["Items"]
            if person in json.dumps(item, default=str)
        ]
        expect("no row names them", not left, [item["pk"] for item in left])
