#!/usr/bin/env python3
"""Plays a newcomer: starts `dev`, pastes the lines that it prints, starts an app on port 5173, and
connects in a popup.

    python tests/examples/newcomer.py target/debug/threads-auth tests/examples/app.mjs [SCREENSHOTS]
"""

import contextlib
import pathlib
import re
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "webapp"))
import chromium  # noqa: E402
import waiting  # noqa: E402
from selenium.common.exceptions import NoSuchWindowException  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402

HOME = "http://localhost:5173"
# Everything is on this machine; what takes longer than this does not come.
PATIENCE = 30


def eventually(what: str, look):
    """Waits for something on this machine, as long as anything here takes."""
    return waiting.eventually("newcomer", what, look, PATIENCE)


def lines_until(process: subprocess.Popen, last: str) -> list[str]:
    """Reads the lines of a program, up to the one that begins with `last`."""
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if lines[-1].startswith(last):
            return lines
    sys.exit(f"newcomer: FAILED: it ended before it printed {last!r}:\n" + "\n".join(lines))


class Newcomer:
    """The app's page in one window, and its popup in another."""

    def __init__(self, screenshots: str | None):
        self.browser, self.screenshots = chromium.start(), screenshots

    def connect(self):
        """Presses the app's button, and goes to the popup that it opens."""
        self.page = self.browser.current_window_handle
        self.browser.find_element(By.ID, "connect").click()
        handles = eventually("a popup opens", lambda: (all_ := self.browser.window_handles) and len(all_) == 2 and all_)
        self.browser.switch_to.window(next(handle for handle in handles if handle != self.page))
        eventually("the consent page opens", lambda: self.browser.find_elements(By.ID, "allow"))
        popup = self.browser.current_window_handle
        self.browser.switch_to.window(self.page)
        assert self.is_closed() is False, "the page takes its popup for closed"
        self.browser.switch_to.window(popup)

    def is_closed(self) -> bool:
        """Asks the page that opened the popup."""
        return self.browser.execute_script("return popup.closed")

    def press(self, selector: str):
        # The window may be gone before the driver has heard of the click.
        with contextlib.suppress(NoSuchWindowException):
            self.browser.find_element(By.CSS_SELECTOR, selector).click()

    def is_told(self, text: str):
        """The popup closes, and the page in which it was opened says so."""
        eventually("the popup closes", lambda: self.browser.window_handles == [self.page])
        self.browser.switch_to.window(self.page)
        eventually("the page sees its popup close", self.is_closed)
        self.reads(text)

    def reads(self, text: str):
        said = lambda: self.browser.find_element(By.TAG_NAME, "output").text
        eventually(f"the page says {text!r}", lambda: text in said())
        print(f"newcomer: the page says: {said()}", flush=True)

    def screenshot(self, name: str):
        if self.screenshots:
            pathlib.Path(self.screenshots).mkdir(parents=True, exist_ok=True)
            self.browser.save_screenshot(f"{self.screenshots}/{name}.png")


def play(newcomer: Newcomer):
    newcomer.browser.get(HOME)
    # A person who says no, tries again and says no again is heard both times.
    for _ in range(2):
        newcomer.connect()
        newcomer.press("#deny")
        newcomer.is_told("You said no")
    newcomer.connect()
    newcomer.press("label[for^='account-']")
    newcomer.press("#allow")
    newcomer.is_told("Connected as @")
    newcomer.press("#token")
    newcomer.reads("A token until 2")
    newcomer.screenshot("newcomer")


def main(command: str, app: str, screenshots: str | None = None):
    with socket.socket() as probe:
        if probe.connect_ex(("localhost", 5173)) == 0:
            sys.exit("newcomer: FAILED: something listens on port 5173 already")
    started = []

    def start(*arguments: str) -> subprocess.Popen:
        started.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        return started[-1]

    try:
        service = start(command, "dev", "--ephemeral", "--port", "0")
        exports = [line.strip() for line in lines_until(service, "Ctrl-C") if line.strip().startswith(("export ", "unset "))]
        # As somebody would who pastes them into a shell.
        lines_until(start("bash", "-euc", "\n".join([*exports, 'exec node "$0"']), app), "Open")
        newcomer = Newcomer(screenshots)
        try:
            play(newcomer)
        except BaseException:
            newcomer.screenshot("failed")
            raise
        finally:
            newcomer.browser.quit()
        length = sum(1 for _ in open(app, encoding="utf-8"))
        page = pathlib.Path(__file__).parents[2].joinpath("docs/API.md").read_text(encoding="utf-8")
        assert length < 60 and re.search(rf"an app of\s+{length} lines", page), f"the app has {length} lines"
        print(f"newcomer: an app of {length} lines connects in a popup, vends, and is told of a denial")
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=PATIENCE)


main(*sys.argv[1:])
