#!/usr/bin/env python3
"""Looks at the pages of operators and developers in a browser, as narrow as a phone and with large
letters: the development page, the sandbox's index and the console.

    python tests/browser/pages.py target/debug/threads-auth [SCREENSHOTS] [--accounts N]

Starts a `dev` of its own with no account, three, and then N (60), and a console beside it. No page
may scroll sideways, all that can be done is done with the keyboard, and no page has a script.
"""

import argparse
import base64
import json
import pathlib
import subprocess
import sys
import urllib.parse

import boto3
import requests

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "webapp"))
import chromium  # noqa: E402
import waiting  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

# Widths in CSS pixels, and the size of letters in percent. 160 is a window of 320 px at a zoom of
# 200 %.
SIZES = [(320, 100), (320, 200), (160, 100), (360, 100), (1280, 100)]
# The development page had 16,900 px for 60 accounts.
HIGHEST = {320: 7_500, 1280: 4_500}
REFERENCE = "مستخدم-٤٢ 利用者四十二 " + "long-reference-" * 5
DAY = 86_400


def check(holds, what: str):
    if not holds:
        sys.exit(f"pages: FAILED: {what}")


class Stack:
    """A `dev`, and the people who connect there."""

    def __init__(self, command: str):
        arguments = [command, "dev", "--ephemeral", "--port", "0", "--json", "--sweep-every", "100h"]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.urls = json.loads(self.process.stdout.readline())
        self.home, self.sandbox, self.people = self.urls["service_url"], self.urls["threads_url"], []

    def connect(self, username: str):
        """Lets a new person log in."""
        answer = requests.post(f"{self.sandbox}/control/accounts", json={"username": username})
        person = answer.json()["user_id"]
        session = requests.Session()
        asked = session.get(f"{self.home}/authorize", allow_redirects=False).headers["location"]
        done = session.get(f"{asked}&auto_approve={person}")
        check(urllib.parse.urlsplit(done.url).path == "/connected", f"{username} ended at {done.url}")
        self.people.append(str(person))

    def control(self, path: str, **body):
        requests.post(f"{self.home}/dev/{path}", json=body).raise_for_status()

    def trouble(self, people: list[str]):
        """Lets people remove the app, and sweeps find it out."""
        for person in people:
            requests.post(f"{self.sandbox}/control/accounts/{person}/revoke").raise_for_status()
        self.control("clock", advance_seconds=41 * DAY)
        self.control("sweep")

    def claim(self, person: str, reference: str):
        """Gives an account a reference, as a backend's `complete` would."""
        dynamodb = boto3.resource(
            "dynamodb",
            endpoint_url=self.urls["dynamodb_url"],
            region_name=self.urls["region"],
            aws_access_key_id=self.urls["access_key_id"],
            aws_secret_access_key=self.urls["secret_access_key"],
        )
        dynamodb.Table(self.urls["grants_table"]).update_item(
            Key={"pk": f"user#{person}"},
            UpdateExpression="SET #r = :r, claimed_at = connected_at",
            ExpressionAttributeNames={"#r": "reference"},
            ExpressionAttributeValues={":r": reference},
        )


class Browser:
    def __init__(self, screenshots: str | None):
        self.driver = chromium.start()
        self.folder = pathlib.Path(screenshots) if screenshots else None
        self.seen = 0

    def scheme(self, dark: bool):
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def size(self, width: int, letters: int = 100):
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # As on a phone, where they lie over the page.
        self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        self.driver.execute_script(f"document.documentElement.style.fontSize = '{letters}%'")

    def measure(self) -> tuple[int, int, int]:
        return tuple(self.driver.execute_script(
            "const page = document.documentElement; return [page.scrollWidth, page.clientWidth, page.scrollHeight]"
        ))

    def look(self, name: str, url: str) -> dict[int, int]:
        """Opens a page at each size: it fits, and has no script. Returns its heights."""
        self.size(1280)
        self.driver.get(url)
        heights = {}
        check(not self.driver.find_elements(By.CSS_SELECTOR, "script, [style], iframe"), f"{name} has a script")
        for width, letters in SIZES:
            self.size(width, letters)
            wide, window, high = self.measure()
            self.screenshot(f"{name}-{width}-{letters}")
            check(wide <= window, f"{name} is {wide} px wide in a window of {window} px, letters at {letters} %")
            if letters == 100:
                heights[width] = high
            self.seen += 1
        for dark_width in (320, 1280):
            self.size(dark_width)
            self.scheme(dark=True)
            self.screenshot(f"{name}-{dark_width}-dark")
            self.scheme(dark=False)
        return heights

    def screenshot(self, name: str):
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
            (self.folder / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def tab_to(self, selector: str):
        """Moves the focus with the keyboard."""
        self.driver.execute_script("document.activeElement.blur()")
        for _ in range(60):
            active = self.driver.switch_to.active_element
            if self.driver.execute_script("return arguments[0].matches(arguments[1])", active, selector):
                return active
            active.send_keys(Keys.TAB)
        sys.exit(f"pages: FAILED: the keyboard does not reach {selector}")


def rows_open_by_keyboard(browser: Browser, url: str, name: str):
    browser.size(1280)
    browser.driver.get(url)
    first = browser.driver.find_element(By.CSS_SELECTOR, ".rows details")
    check(first.get_attribute("class") == "halt", f"on {name} trouble is not first")
    browser.tab_to("summary").send_keys(Keys.ENTER)
    check(first.get_attribute("open") is not None, f"on {name} a row does not open")
    check(first.find_element(By.TAG_NAME, "dl").is_displayed(), f"on {name} an open row shows nothing")
    for width, letters in SIZES:
        browser.size(width, letters)
        wide, window, _ = browser.measure()
        check(wide <= window, f"{name} with an open row is {wide} px wide in {window} px")
    browser.screenshot(f"{name}-open")


def search(browser: Browser, url: str, name: str, words: str, expected: str):
    browser.driver.get(url)
    box = browser.tab_to("input[type=search]")
    box.send_keys(words, Keys.ENTER)
    script = "return [...document.querySelectorAll('article h3, .rows b')].map(each => each.textContent)"
    found = lambda: browser.driver.execute_script(script) == [expected]
    waiting.eventually("pages", f"on {name} {words!r} finds {expected}", found, 30)
    browser.screenshot(f"{name}-search")


def changes(browser: Browser, home: str, person: str):
    """Pauses, resumes and disconnects as a person does, with the keyboard alone."""
    browser.size(1280)

    def press(field: str, expected: str, *keys: str):
        browser.tab_to(field).send_keys(*keys)
        is_said = lambda: expected in browser.driver.page_source
        waiting.eventually("pages", f"the console says {expected!r}", is_said, 30)

    browser.driver.get(home)
    for what, expected in (("verdicts", "The verdicts are paused"), ("nothing", "Nothing is paused")):
        press(f"[value={what}] + button", expected, Keys.ENTER)
    browser.driver.get(f"{home}/accounts/{person}/disconnect")
    press("#confirm", "is disconnected", "yes", Keys.ENTER)
    browser.screenshot("disconnected")
    browser.driver.get(f"{home}/accounts?show=revoked")
    found = [each.text for each in browser.driver.find_elements(By.CSS_SELECTOR, "article code")]
    check(found[:1] == [person], f"the revoked are {found}")


def pages(browser: Browser, stack: Stack, console: str, count: int):
    heights = {
        "dev": browser.look(f"{count}-dev", stack.home),
        "sandbox": browser.look(f"{count}-sandbox", stack.sandbox),
        "console": browser.look(f"{count}-console", console),
        "accounts": browser.look(f"{count}-accounts", f"{console}/accounts"),
    }
    if stack.people:
        heights["account"] = browser.look(f"{count}-account", f"{console}/accounts/{stack.people[0]}")
        browser.look(f"{count}-question", f"{console}/accounts/{stack.people[0]}/delete")
    print(f"pages: {count} accounts: " + ", ".join(f"{name} {by[1280]} px, {by[320]} px at 320" for name, by in heights.items()), flush=True)
    return heights


def main(arguments):
    stack = Stack(arguments.command)
    console = None
    browser = Browser(arguments.screenshots)
    try:
        command = [arguments.command, "console", f"--local={stack.home}", "--json", "--write"]
        console = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        link = json.loads(console.stdout.readline())["link"]
        browser.driver.get(link)
        home = browser.driver.current_url
        check("/open/" not in home, f"the link leads to {home}")
        browser.driver.get(link)
        check("opens nothing any more" in browser.driver.page_source, "the link opens twice")
        pages(browser, stack, home, 0)
        browser.look("letters", f"{home}/letters")
        browser.look("checks", f"{home}/checks?run=1")
        for username in ("ada.lovelace", "x" * 30, "grace"):
            stack.connect(username)
        stack.claim(stack.people[0], REFERENCE)
        pages(browser, stack, home, 3)
        for n in range(4, arguments.accounts + 1):
            stack.connect(f"person_{n}")
        stack.trouble(stack.people[40:43])
        heights = pages(browser, stack, home, arguments.accounts)
        for page in ("dev", "accounts"):
            for width, most in HIGHEST.items():
                check(heights[page][width] <= most, f"{page} is {heights[page][width]} px high at {width}")
        for name, url in (("dev", stack.home), ("accounts", f"{home}/accounts")):
            rows_open_by_keyboard(browser, url, name)
            search(browser, url, name, "利用者", "@ada.lovelace")
        changes(browser, home, stack.people[1])
        print(f"pages: {browser.seen} looks at {SIZES}, none wider than its window")
    finally:
        browser.driver.quit()
        for process in filter(None, (console, stack.process)):
            process.terminate()
            process.wait(timeout=30)


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("command")
parser.add_argument("screenshots", nargs="?")
parser.add_argument("--accounts", type=int, default=60)
main(parser.parse_args())
