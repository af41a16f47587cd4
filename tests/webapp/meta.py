"""Meta's two callbacks: what it posts when somebody removes the app, or wants their data deleted.

The messages are made here, with nothing but Python's hmac and the app's secret, as Meta documents
them.
"""

import base64
import hashlib
import hmac
import json
import time

import requests

from browser import Person
from stack import DAY, PATIENCE, Stack, Task, check, eventually

PATHS = ("deauthorize", "data-deletion")
RUNNING = 3_000  # milliseconds, for a refresh at Meta


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(secret: str, payload: dict | str, digest=hashlib.sha256) -> str:
    encoded = base64url((payload if isinstance(payload, str) else json.dumps(payload)).encode())
    return f"{base64url(hmac.new(secret.encode(), encoded.encode(), digest).digest())}.{encoded}"


def app_secret(stack: Stack) -> str:
    kept = stack.client("secretsmanager").get_secret_value(SecretId=stack.addresses["app_secret_id"])
    return json.loads(kept["SecretString"])["app_secret"]


def payload(stack: Stack, account: str, **more) -> dict:
    return {"algorithm": "HMAC-SHA256", "issued_at": stack.now(), "user_id": account} | more


def good(stack: Stack, account: str) -> str:
    return signed(app_secret(stack), payload(stack, account))


def send(stack: Stack, path: str, message: str) -> requests.Response:
    return requests.post(f"{stack.service}/{path}", {"signed_request": message}, timeout=PATIENCE)


def forgeries(stack: Stack, jonas: Person):
    secret, fresh = app_secret(stack), payload(stack, jonas.account)
    message = signed(secret, fresh)
    signature, encoded = message.split(".")
    other = signed(secret, payload(stack, stack.account("mallory"))).split(".")
    bad = {
        "wrong key": [signed(key, fresh) for key in ("another-secret", "", secret + "x", secret.upper())],
        "flipped bits": [
            bytes(byte ^ (1 << bit) if at == n else byte for at, byte in enumerate(message.encode()))
            for n in range(len(message)) for bit in range(8)
        ],
        "wrong algorithm": [
            signed(secret, fresh | {"algorithm": name})
            for name in ("none", "", "HMAC-SHA1", "HMAC-SHA512", "hmac-sha256", "RS256", None, 256)
        ] + [signed(secret, fresh, digest) for digest in (hashlib.sha1, hashlib.sha512, hashlib.md5)],
        "stale": [signed(secret, fresh | {"issued_at": fresh["issued_at"] - age}) for age in (DAY + 60, 40 * DAY, 10**10)]
        + [signed(secret, fresh | {"issued_at": 0})],
        "future": [signed(secret, fresh | {"issued_at": fresh["issued_at"] + age}) for age in (3_660, DAY, 10**10, 10**30)],
        "padding": [f"{signature}=.{encoded}", f"{signature}.{encoded}=", f"{signature}.{encoded}==", message + "=",
                    f"{signature}.{encoded}\n", f" {message}"],
        "payload swapped": [f"{signature}.{other[1]}", f"{other[0]}.{encoded}", f"{encoded}.{signature}",
                            f"{signature}.{base64url(json.dumps(fresh | {'user_id': '1'}).encode())}"],
        "in parts": ["", ".", signature, encoded, f".{encoded}", f"{signature}.", f"{message}.{encoded}", f"{signature}..{encoded}",
                     "x" * 5_000],
        "not as documented": [
            signed(secret, text)
            for text in ("", "{}", "[]", "null", json.dumps(fresh)[:-1], json.dumps([fresh]),
                         json.dumps({name: value for name, value in fresh.items() if name != "user_id"}),
                         json.dumps({name: value for name, value in fresh.items() if name != "issued_at"}))
        ] + [signed(secret, fresh | {"user_id": value}) for value in (None, "", "../user", "1 OR 1=1", -1, 1.5, [], {})]
        + [signed(secret, fresh | {"issued_at": value}) for value in (None, "soon", 1.5, [])],
    }
    forms = {
        "missing": [[], [("signed", message)], [("Signed_Request", message)], b"\xff\xfe", json.dumps({"signed_request": message})],
        "twice": [[("signed_request", message)] * 2, [("signed_request", message), ("signed_request", "")],
                  [("signed_request", "x"), ("signed_request", message)]],
        "too long": [[("signed_request", message), ("more", "x" * 9_000)]],
    }
    before, count = stack.rows(), 0
    with requests.Session() as session:
        for path in PATHS:
            for kind, messages in bad.items():
                forms[kind] = [[("signed_request", text)] for text in messages]
            for kind, bodies in forms.items():
                for number, body in enumerate(bodies):
                    answer = session.post(f"{stack.service}/{path}", body, timeout=PATIENCE)
                    refused = answer.status_code == 400 and answer.json()["error"]["code"] == "bad_signed_request"
                    check(f"{path} refuses {kind}, number {number}", refused, say=False)
                    count += 1
        # In the address, where it would end up in logs, it is none either.
        for path in PATHS:
            answer = session.post(f"{stack.service}/{path}?signed_request={message}", timeout=PATIENCE)
            check(f"{path} reads no address", answer.status_code == 400, say=False)
            count += 1
    check(f"threat forged-message: {count} forged messages of {len(forms)} kinds, 0 accepted, and nothing changed",
          stack.rows() == before and stack.token(jonas.account).ok)


def deauthorization(stack: Stack, jonas: Person):
    message = good(stack, jonas.account)
    answer = send(stack, "deauthorize", message)
    stack.event("account.disconnected", jonas.account, by="threads")
    refused = stack.token(jonas.account)
    check("deauthorized: the token is destroyed, and the app is told",
          answer.status_code == 200 and answer.json() == {} and not stack.holds_a_token(jonas.account)
          and refused.status_code == 409 and refused.json()["error"]["cause"] == "threads")
    jonas.sees(status="revoked", account=jonas.account)
    jonas.reads("You removed Plume at Threads")
    before = stack.rows()
    for _ in range(3):
        check("a retry gets the same answer", send(stack, "deauthorize", message).text == answer.text, say=False)
    check("deauthorized: Meta's retries change nothing", stack.rows() == before)
    stack.advance(60)
    jonas.press("/connect")
    jonas.allow(jonas.account)
    jonas.sees(status="active", account=jonas.account)
    stack.event("account.connected", jonas.account)
    check("deauthorized: a retry that comes after the person does not undo their new consent",
          send(stack, "deauthorize", message).ok and stack.token(jonas.account).ok)


def deletion(stack: Stack, mia: Person):
    message = good(stack, mia.account)
    check("there is something to delete", len(stack.rows(of=mia.account)) > 1, say=False)
    answer = send(stack, "data-deletion", message)
    stack.event("account.deleted", mia.account)
    told = answer.json()
    traces = stack.rows(of=mia.account) + stack.rows(of=mia.username)
    check(f"deleted: {len(traces)} traces in {len(stack.rows())} rows, and the app is told",
          answer.status_code == 200 and not traces and stack.token(mia.account).status_code == 404)
    mia.sees(status="none", account="")
    mia.screenshot("7-deleted-in-the-app")
    check("deleted: the answer is as Meta wants it",
          set(told) == {"url", "confirmation_code"} and told["url"].startswith(stack.service)
          and told["url"].endswith(told["confirmation_code"]) and len(told["confirmation_code"]) >= 32)
    mia.browser.get(told["url"])
    mia.reads("deleted")
    mia.screenshot("8-deletion-status")
    page = requests.get(told["url"], timeout=PATIENCE)
    other = requests.get(told["url"][:-1] + ("0" if told["url"][-1] != "0" else "1"), timeout=PATIENCE)
    check("deleted: the person can see that it was done, and a guessed code shows nothing",
          page.status_code == 200 and mia.account not in page.text and other.status_code == 404)
    before = len(stack.rows())
    for _ in range(3):
        check("a retry gets the same answer", send(stack, "data-deletion", message).json() == told, say=False)
    check("deleted: Meta's retries get the same code, and leave no more rows",
          len(stack.rows()) == before and requests.get(told["url"], timeout=PATIENCE).text == page.text)


def during_a_refresh(stack: Stack):
    """Each callback comes while Meta is asked to refresh the same account, by a sweep or by a
    caller who wants the token; and Meta either still issues a new token, or already says that the
    app was removed."""
    races = [(path, by, says) for path in PATHS for by in ("sweep", "caller") for says in ("a new token", "removed")]
    accounts = {race: stack.account("race." + "".join(word[0] for word in race) + str(n)) for n, race in enumerate(races)}
    for account in accounts.values():
        stack.connect(account)
        stack.event("account.connected", account)
    stack.advance(41 * DAY)
    for account in accounts.values():
        stack.delay_refresh(account, RUNNING)
    began = time.monotonic()
    answers, times = {}, []

    def during(begin, left: list):
        """Begins refreshes, and sends each account's callback as soon as its refresh is on its way:
        a sweep that begins with one grant begins the others one after the other."""
        before = time.monotonic()
        begun = begin()

        def send_callbacks() -> bool:
            nonlocal before
            looked = time.monotonic()
            waiting = stack.waiting_refreshes()
            for race in [race for race in left if accounts[race] not in waiting]:
                if race[2] == "removed":
                    stack.control("POST", f"accounts/{accounts[race]}/revoke")
                answers[race] = send(stack, race[0], good(stack, accounts[race]))
                # The refresh began after the look before this one.
                times.append(time.monotonic() - before)
                left.remove(race)
            before = looked
            return not left

        eventually("the refreshes are on their way", send_callbacks)
        return begun

    # The callers first, so that the sweep leaves these to them.
    called = [race for race in races if race[1] == "caller"]
    callers = during(lambda: {race: Task(stack.token, accounts[race]) for race in called}, called.copy())
    sweep = during(lambda: Task(stack.dev, "sweep"), [race for race in races if race not in called])
    check(f"{len(races)} callbacks were answered while {len(races)} refreshes of the same accounts were under way",
          max(times) < RUNNING / 1_000)
    sweep.done()

    def destroyed(race, account) -> bool:
        refused, of = stack.token(account), race[0] == PATHS[0]
        gone = refused.status_code == 409 and refused.json()["error"]["code"] == "revoked" if of else refused.status_code == 404
        return gone and not stack.holds_a_token(account) and (of or not stack.rows(of=account))

    for race, account in accounts.items():
        what = " ".join(race)
        check(f"{what}: Meta was answered", answers[race].ok, say=False)
        check(f"{what}: the account is gone", destroyed(race, account), say=False)
        check(f"{what}: it was refreshed once", stack.refreshes(account) == 1, say=False)
        if race in callers:
            check(f"{what}: the caller got no token", callers[race].done().status_code in (404, 409), say=False)
        stack.event("account.disconnected" if race[0] == PATHS[0] else "account.deleted", account)
    stack.advance(41 * DAY)
    stack.dev("sweep")
    later = sum(not destroyed(race, account) or stack.refreshes(account) != 1 for race, account in accounts.items())
    noise = sum(not stack.no_event(account, "account.refreshed", "account.needs_reauthorization", "account.connected")
                for account in accounts.values())
    check(f"{len(races)} of these in {time.monotonic() - began:.1f} s: {later} resurrected, {noise} events that contradict it",
          later == 0 and noise == 0)
