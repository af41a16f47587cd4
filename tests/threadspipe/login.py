#!/usr/bin/env python3
"""`threads-auth login` as a person does it, in a real browser: consent, the browser's warning, our
last page.

    python tests/threadspipe/login.py target/debug/threads-auth [folder for screenshots]

It needs selenium (its version is in `.ci/run`), and Debian's chromium and chromedriver. Everything
is on 127.0.0.1.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import queue
import re
import ssl
import subprocess
import sys
import tempfile
import threading

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

sys.path.append(str(pathlib.Path(__file__).parents[1] / "webapp"))
import chromium  # noqa: E402

APP = {"THREADS_APP_ID": "9876543210987654", "THREADS_APP_SECRET": "sandbox-app-secret"}
# Everything is on this machine; what takes longer than this does not come.
PATIENCE = 30


def check(what: str, holds, say: bool = True):
    if not holds:
        sys.exit(f"login: FAILED: {what}")
    if say:
        print(f"login: {what}", flush=True)


class Command:
    """The command under way: what it tells people is read line by line, what it gives programs at
    its end."""

    def __init__(self, program: str, *arguments: str, folder: str, **variables: str):
        environment = {"PATH": os.environ["PATH"], "HOME": folder, **variables}
        self.process = subprocess.Popen([program, *arguments], cwd=folder, env=environment, text=True,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines, self.said = queue.Queue(), []
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stderr:
            self.lines.put(line)

    def line(self, pattern: str) -> str:
        """Waits for a line that matches, and returns what did."""
        while True:
            try:
                self.said.append(self.lines.get(timeout=PATIENCE))
            except queue.Empty:
                sys.exit(f"login: FAILED: it never said {pattern}: {''.join(self.said)}")
            if found := re.search(pattern, self.said[-1]):
                return found.group()

    def runs(self) -> bool:
        return self.process.poll() is None

    def end(self) -> tuple[int, dict]:
        try:
            out, _ = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            sys.exit(f"login: FAILED: it did not end: {''.join(self.said)}")
        return self.process.returncode, json.loads(out)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.runs():
            self.process.terminate()
            self.process.wait()


class Browser:
    """A browser with a fresh profile. It trusts nobody yet."""

    def __init__(self, screenshots: pathlib.Path | None):
        self.screenshots = screenshots
        if screenshots:
            screenshots.mkdir(parents=True, exist_ok=True)

    def __enter__(self):
        self.driver = chromium.start()
        return self

    def __exit__(self, *failure):
        if failure[0]:
            self.screenshot("failed")
        self.driver.quit()

    def open(self, url: str):
        # A page that warns is a page that did not load.
        with contextlib.suppress(Exception):
            self.driver.get(url)

    def until(self, what: str, look):
        wait = WebDriverWait(self.driver, PATIENCE, 0.05, [StaleElementReferenceException])
        try:
            return wait.until(lambda _: look())
        except Exception:
            self.screenshot("failed")
            sys.exit(f"login: FAILED: {what}: the browser is at {self.driver.current_url}")

    def click(self, selector: str):
        def press():
            found = [e for e in self.driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]
            if found:
                # Chromium's own warning reports its click as one that left the page.
                with contextlib.suppress(StaleElementReferenceException):
                    found[0].click()
            return bool(found)

        self.until(f"there is {selector}", press)

    def warned(self):
        self.until("the browser warns", lambda: self.driver.find_elements(By.ID, "details-button"))

    def go_on(self):
        """Goes on as a person who has compared the fingerprint."""
        self.warned()
        self.click("#details-button")
        self.click("#proceed-link")

    def reads(self, title: str) -> str:
        def look():
            found = self.driver.find_elements(By.TAG_NAME, "h1")
            return found and found[0].text == title and self.driver.find_element(By.TAG_NAME, "body").text

        return self.until(f"it reads {title}", look)

    def fingerprint(self) -> str:
        """Of the certificate that the browser warns of, which it shows to those who ask for
        details."""
        self.driver.find_element(By.ID, "error-code").click()
        shown = self.driver.find_element(By.ID, "error-debugging-info").get_attribute("textContent")
        (certificate,) = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", shown, re.DOTALL)
        return sha256(ssl.PEM_cert_to_DER_cert(certificate))

    def screenshot(self, name: str):
        if self.screenshots:
            self.driver.save_screenshot(str(self.screenshots / f"{name}.png"))


def sha256(certificate: bytes) -> str:
    return ":".join(f"{byte:02X}" for byte in hashlib.sha256(certificate).digest())


def in_arguments(text: str) -> bool:
    """Returns True if a program on this machine has the text in its arguments."""
    for arguments in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        # A process may have ended meanwhile.
        with contextlib.suppress(OSError):
            if text.encode() in arguments.read_bytes():
                return True
    return False


def start(program: str, sandbox: dict, folder: str) -> tuple[Command, str, str, str]:
    """A login that waits: the address at which it begins, its own origin, and the fingerprint that
    it prints."""
    login = Command(program, "login", "--no-browser", "--port", "0", "--json", folder=folder,
                    THREADS_AUTHORIZE_URL=sandbox["authorize_url"], THREADS_GRAPH_URL=sandbox["graph_url"], **APP)
    address = login.line(r"http://127\.0\.0\.1:\d+/\S+")
    origin = login.line(r"https://127\.0\.0\.1:\d+")
    fingerprint = login.line(r"([0-9A-F]{2}:){31}[0-9A-F]{2}")
    login.line("Waiting")
    return login, address, origin, fingerprint


def agreeing(program: str, sandbox: dict, folder: str, browser: Browser):
    login, address, origin, fingerprint = start(program, sandbox, folder)
    with login:
        browser.open(address)
        browser.click("#allow")
        state = re.search(r"state=([\w-]+)", browser.driver.current_url)
        check("no program's arguments hold the state", not state or not in_arguments(state.group(1)))
        browser.warned()
        browser.screenshot("1-warning")
        port = int(origin.rsplit(":", 1)[1])
        served = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE))
        check("the browser warns of the certificate whose fingerprint is printed",
              browser.fingerprint() == sha256(served) == fingerprint)

        # Another tab, with the answer to some other login.
        waiting = browser.driver.current_window_handle
        browser.driver.switch_to.new_window("tab")
        browser.open(f"{origin}/callback?code=somebodys&state=of-another-login")
        browser.go_on()
        browser.reads("This answer cannot be used")
        browser.screenshot("2-another-tab")
        login.line("Still waiting")
        check("an answer with another state is refused, and the login goes on waiting", login.runs())

        browser.driver.switch_to.window(waiting)
        browser.go_on()
        text = browser.reads("Back to the terminal")
        browser.screenshot("3-agreed")
        check("the last page says that the window can be closed", "close this" in text, say=False)
        check("its address holds no code", re.fullmatch(r"/callback/agreed(#_)?",
              browser.driver.current_url.removeprefix(origin)), say=False)
        code, got = login.end()
        token = got["tokens"]["long_lived"]["access_token"]
        check("the command has the tokens, and ends", code == 0 and token and got["tokens"]["short_lived"])


def denying(program: str, sandbox: dict, folder: str, browser: Browser):
    login, address, _, _ = start(program, sandbox, folder)
    with login:
        browser.open(address)
        browser.click("#deny")
        # A certificate of its own for each login: what was accepted for the last one does not
        # count.
        browser.go_on()
        browser.reads("Nothing was connected")
        browser.screenshot("4-denied")
        code, got = login.end()
        check("a person who says no ends the login with 3", code == 3 and got["error"]["kind"])


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    screenshots = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory() as folder, \
            Command(program, "sandbox", "--port", "0", "--json", folder=folder) as serving, \
            Browser(screenshots) as browser:
        sandbox = json.loads(serving.process.stdout.readline())
        agreeing(program, sandbox, folder, browser)
        denying(program, sandbox, folder, browser)


if __name__ == "__main__":
    main()
