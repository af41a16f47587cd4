"""A user of the app, in a real browser."""

import pathlib

from selenium.webdriver.common.by import By

import chromium
from stack import APP, check, eventually, read


class Person:
    """One browser with a profile of its own, its user of the app, and their account at Threads."""

    def __init__(self, name: str, username: str, account: str, screenshots: pathlib.Path | None):
        self.name, self.username, self.account, self.screenshots = name, username, account, screenshots
        if screenshots:
            screenshots.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "Person":
        self.browser = chromium.start()
        return self

    def __exit__(self, *failure):
        if failure[0]:
            self.screenshot(f"failed-{self.name}")
        self.browser.quit()

    def sign_in(self):
        self.browser.get(APP)
        self.browser.find_element(By.NAME, "name").send_keys(self.name)
        self.press("/sign-in")

    def press(self, action: str):
        """Presses the button of the app's form that goes to `action`."""
        if not self.browser.current_url.startswith(APP):
            self.browser.get(APP)
        self.browser.find_element(By.CSS_SELECTOR, f"form[action='{action}'] button").click()

    def allow(self, account: str):
        """Consents at the sandbox as `account`."""
        self.click(f"label[for='account-{account}']")
        self.click("#allow")

    def click(self, selector: str):
        found = eventually(f"{self.name} finds {selector}",
                           lambda: self.browser.find_elements(By.CSS_SELECTOR, selector))
        found[0].click()

    def address(self) -> str:
        # The service leads back with an empty fragment, so that Meta's `#_` does not reach the app.
        return self.browser.current_url.removesuffix("#")

    def sees(self, **expected):
        """Looks at the app's page until it says so. Nothing but the page is asked for, again and
        again."""

        def look():
            if self.address() != f"{APP}/":
                return False
            shown = read(self.browser.page_source)
            if all(shown.get(name) == value for name, value in expected.items()):
                return True
            self.browser.refresh()
            return False

        eventually(f"{self.name}'s page shows {expected}", look)

    def reads(self, text: str):
        """Waits for words on whatever page is open."""
        eventually(f"{self.name} reads: {text}", lambda: text in self.browser.page_source)

    def screenshot(self, name: str):
        if self.screenshots:
            taken = self.browser.save_screenshot(str(self.screenshots / f"{name}.png"))
            check(f"there is a screenshot {name}", taken, say=False)
