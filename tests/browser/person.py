#!/usr/bin/env python3
"""One person's way through everything that persons, teams and operators see, in a real browser.

    python tests/browser/person.py target/debug/threads-auth [folder for screenshots]

A person whose language is Japanese connects on a phone, and meets the app's name and colour. The
app's backend is down meanwhile, and gets the signed webhook once it is back. It finds the account
by its own reference, and the console shows it to an operator. Needs what `languages.py` and
`tests/clients/webhooks.py` need. Everything is on 127.0.0.1.
"""

import http.server
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.parse

for folder in ("clients", "webapp"):
    sys.path.append(str(pathlib.Path(__file__).parents[1] / folder))
import waiting  # noqa: E402
from backend import Backend  # noqa: E402
from languages import BRAND, WIDTH, Phone, development  # noqa: E402
from standardwebhooks.webhooks import Webhook  # noqa: E402
from webhooks import Receiver  # noqa: E402

REFERENCE = "利用者-7"
NAME = "写真の糸"
# Readable on light paper as it is; dark paper gets a lighter one.
COLOUR = "#0a4fb3"
PATIENCE = 60


def check(what: str, holds, found=""):
    if not holds:
        sys.exit(f"person: FAILED: {what} {found}")


def said(what: str):
    print(f"person: {what}", flush=True)


class App(http.server.BaseHTTPRequestHandler):
    """The page of the app to which people come back."""

    came_back: queue.Queue = queue.Queue()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        address = urllib.parse.urlsplit(self.path)
        if address.path == "/done":
            self.came_back.put(dict(urllib.parse.parse_qsl(address.query)))

    def log_message(self, *_):
        pass


def connects(phone: Phone, backend: Backend, app: str) -> tuple[str, str]:
    """Returns the address of the session's link, and the account."""
    asked = {"reference": REFERENCE, "return_to": f"{app}/done", "ui_locales": "ja en"}
    session = backend.call("POST", "/sessions", asked).json()
    phone.tell("Emulation.setDeviceMetricsOverride", width=WIDTH, height=760, deviceScaleFactor=2, mobile=True)
    phone.browser.get(session["url"])
    phone.browser.find_element("css selector", "label[for^='account-']").click()
    phone.browser.find_element("id", "allow").click()
    back = App.came_back.get(timeout=PATIENCE)
    check("the person comes back to the app", back["session_id"] == session["id"], back)
    done = backend.call("POST", f"/sessions/{session['id']}/complete", {"completion": back["completion"], "reference": REFERENCE})
    check("the session is completed", done.status_code == 200, done.text)
    return session["url"], done.json()["user_id"]


def reads_japanese(phone: Phone, link: str, screenshots: pathlib.Path):
    """The link was used: the page says so, in the session's language."""
    colours = set()
    for scheme in ("light", "dark"):
        seen = phone.looks_at(link, scheme)
        check("the page is in Japanese", (seen["lang"], seen["dir"]) == ("ja", "ltr"), seen)
        check("the page has the app's name", seen["name"] == NAME and NAME in seen["title"], seen)
        check("the page has the app's links", seen["links"] == [BRAND["HOME_URL"], BRAND["SUPPORT_URL"], BRAND["PRIVACY_URL"]], seen)
        check(f"nothing is wider than {WIDTH} px", seen["scroll"] == WIDTH and not seen["beyond"], seen)
        check("each text is readable", seen["contrast"] >= 4.5, seen)
        check("the page has a request id", seen["id"], seen)
        colours.add(phone.browser.execute_script("return getComputedStyle(document.querySelector('main a')).backgroundColor"))
        phone.screenshot(screenshots / f"1-used-link-{scheme}.png")
    expected = "rgb({}, {}, {})".format(*bytes.fromhex(COLOUR[1:]))
    check("the button has the app's colour, and another one in the dark", expected in colours and len(colours) == 2, colours)
    said(f"a page in Japanese at {WIDTH} px, with the app's name, its colour and its links")


def arrives_later(receiver: Receiver, secret: str, user_id: str, log: pathlib.Path):
    """Nobody listened when the events were posted. Once somebody does, each comes, signed."""
    waiting.eventually("person", "an event finds nobody", lambda: "not_delivered" in log.read_text(), PATIENCE)
    check("nothing was received", receiver.posts.empty())
    receiver.listen()
    kinds, orders = set(), []
    while not {"account.connected", "account.claimed"} <= kinds:
        headers, body = receiver.next()
        event = Webhook(secret).verify(body, headers)
        check("the event is the account's", event["user_id"] == user_id, event)
        kinds.add(event["type"])
        orders.append(event["order"])
        check("a claim has the reference", event["type"] != "account.claimed" or event["reference"] == REFERENCE, event)
    check("the order is a number", all(order.isdecimal() for order in orders), orders)
    said(f"{len(kinds)} kinds of event arrive, signed, after the receiver was down")


def is_found(backend: Backend, user_id: str):
    found = backend.call("GET", f"/users?reference={urllib.parse.quote(REFERENCE)}").json()["users"]
    check("the account is found by its reference", [user["user_id"] for user in found] == [user_id], found)
    said("the account is found by its reference")


def is_shown(phone: Phone, command: list[str], user_id: str, environment: dict, screenshots: pathlib.Path):
    console = subprocess.Popen([*command, "--json"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        phone.browser.get(json.loads(console.stdout.readline())["link"])
        phone.screenshot(screenshots / "2-console.png")
        home = phone.browser.current_url.rstrip("/")
        phone.browser.get(f"{home}/accounts?q={urllib.parse.quote(REFERENCE)}")
        shown = phone.browser.find_elements("css selector", "article")
        check("the console finds one account", len(shown) == 1, len(shown))
        check("it is the person's, and the user's", user_id in shown[0].text and REFERENCE in shown[0].text, shown[0].text)
        wide = phone.browser.execute_script("return document.documentElement.scrollWidth")
        check("the console fits a phone", wide == WIDTH, wide)
        phone.screenshot(screenshots / "3-console-account.png")
    finally:
        console.terminate()
        console.wait()
    said("the console finds and shows the account")


def main(command: str, screenshots: str = "target/person"):
    pictures = pathlib.Path(screenshots)
    pictures.mkdir(parents=True, exist_ok=True)
    command = str(pathlib.Path(command).resolve())
    receiver, app = Receiver(), http.server.ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{app.server_port}"
    settings = {**BRAND, "APP_NAME": NAME, "ACCENT_COLOR": COLOUR}
    arguments = ("--webhook", receiver.url, "--return-to", f"{address}/done")
    with (
        tempfile.TemporaryDirectory() as home,
        open(pathlib.Path(home, "dev.log"), "w") as log,
        development(command, home, settings, *arguments, log=log) as addresses,
        Phone() as phone,
    ):
        local, environment = f"--local={addresses['service_url']}", {**os.environ, "HOME": home}
        secret = subprocess.run([command, "webhook", "secret", local], env=environment, check=True, capture_output=True, text=True).stdout.strip()
        backend = Backend(addresses)
        link, user_id = connects(phone, backend, address)
        reads_japanese(phone, link, pictures)
        arrives_later(receiver, secret, user_id, pathlib.Path(log.name))
        is_found(backend, user_id)
        is_shown(phone, [command, "console", local], user_id, environment, pictures)


if __name__ == "__main__":
    main(*sys.argv[1:])
