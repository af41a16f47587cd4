#!/usr/bin/env python3
"""Our pages in each of their languages, in both colour schemes, at the width of a phone.

    python tests/browser/languages.py target/debug/threads-auth [folder for screenshots]

It needs selenium (its version is in `.ci/run`), Debian's chromium and chromedriver, and the fonts
fonts-noto-core and fonts-noto-cjk. Everything is on 127.0.0.1. Whether a page looks right only its
picture tells: this looks at what can be measured.
"""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.append(str(pathlib.Path(__file__).parents[1] / "webapp"))
import chromium  # noqa: E402
import waiting  # noqa: E402

WORDS = pathlib.Path(__file__).parents[2] / "shared/web/src/pages/words"
LANGUAGES = ("en", "ja", "pt-BR", "es", "zh-Hant", "ar", "ko", "de", "fr", "id", "th")
SCHEMES = ("light", "dark")
WIDTH = 360
# Everything is on this machine; what takes longer than this does not come.
PATIENCE = 30
NAME = "Photo Planner \u0645\u062e\u0637\u0637 \u5199\u771f"
# A yellow that is readable on dark paper only.
BRAND = {
    "APP_NAME": NAME,
    "HOME_URL": "https://app.example.com/",
    "SUPPORT_URL": "https://app.example.com/help",
    "PRIVACY_URL": "https://app.example.com/privacy",
    "ACCENT_COLOR": "#ffcc00",
}
# The page with the most words, one of a success, and one with a code.
PAGES = {"wrong_browser": "/callback?code=a&state=b&", "connected": "/connected?", "deletion_unknown": "/data-deletion/a?"}

# Each box of text that reaches beyond the window, and what WCAG asks for the contrast of text. The
# ground is that of the nearest element that has one.
LOOK = """
const width = document.documentElement.clientWidth;
const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
const rgb = colour => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = colour;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
};
const ground = element => {
    for (; element; element = element.parentElement) {
        const found = rgb(getComputedStyle(element).backgroundColor);
        if (found[3] === 255) return found;
    }
};
const luminance = colour => {
    const [red, green, blue] = colour.map(channel => {
        const share = channel / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const texts = [...document.querySelectorAll("header, h1, p, a, code, time, footer bdi")];
const contrast = element => {
    const [one, other] = [rgb(getComputedStyle(element).color), ground(element)].map(luminance);
    return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
};
const beyond = texts.filter(element => {
    const box = element.getBoundingClientRect();
    return box.left < 0 || box.right > width || element.scrollWidth > element.clientWidth + 1 && element.clientWidth;
});
const html = document.documentElement;
return {
    lang: html.lang,
    dir: html.dir,
    title: document.title,
    h1: document.querySelector("h1").textContent,
    name: document.querySelector("header bdi").textContent,
    links: [...document.querySelectorAll("footer a")].map(link => link.href),
    id: document.querySelector(".id")?.textContent,
    id_direction: document.querySelector(".id") && getComputedStyle(document.querySelector(".id")).direction,
    width,
    scroll: Math.max(html.scrollWidth, document.body.scrollWidth),
    beyond: beyond.map(element => element.outerHTML),
    contrast: Math.min(...texts.map(contrast)),
    style: getComputedStyle(document.querySelector("main")).borderRadius,
};
"""


def check(what: str, holds, found=""):
    if not holds:
        sys.exit(f"languages: FAILED: {what} {found}")


class Phone:
    """A browser of a phone's width."""

    def __enter__(self) -> "Phone":
        self.browser = chromium.start()
        return self

    def __exit__(self, *_):
        self.browser.quit()

    def looks_at(self, url: str, scheme: str) -> dict:
        features = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.tell("Emulation.setEmulatedMedia", features=features)
        self.tell("Emulation.setDeviceMetricsOverride", width=WIDTH, height=760, deviceScaleFactor=2, mobile=True)
        self.browser.get(url)
        return self.browser.execute_script(LOOK)

    def prefers(self, languages: str):
        self.tell("Network.enable")
        self.tell("Network.setExtraHTTPHeaders", headers={"Accept-Language": languages})

    def tell(self, command: str, **parameters) -> dict:
        return self.browser.execute_cdp_cmd(command, parameters)

    def screenshot(self, path: pathlib.Path):
        """The whole page, and not only what the window shows."""
        picture = self.tell("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextlib.contextmanager
def development(command: str, home: str, settings: dict, *arguments: str, log=subprocess.DEVNULL):
    """A `dev` with these settings, for as long as it is needed, and its addresses."""
    start = [pathlib.Path(command).resolve(), "dev", "--ephemeral", "--port", "0", "--json", *arguments]
    environment = {**os.environ, **settings, "HOME": home}
    dev = subprocess.Popen(start, cwd=home, env=environment, text=True, stdout=subprocess.PIPE, stderr=log)
    try:
        yield json.loads(dev.stdout.readline())
    finally:
        dev.terminate()
        dev.wait()


def is_right(seen: dict, language: str, where: str):
    check(f"{where}: lang", seen["lang"] == language, seen)
    check(f"{where}: dir", seen["dir"] == ("rtl" if language == "ar" else "ltr"), seen)
    check(f"{where}: the title is the headline, and the app's name", seen["title"] == f"{seen['h1']} \u00b7 \u2068{NAME}\u2069", seen)
    check(f"{where}: the app's name", seen["name"] == NAME, seen)
    check(f"{where}: links", seen["links"] == [BRAND[name] for name in ("HOME_URL", "SUPPORT_URL", "PRIVACY_URL")], seen)
    check(f"{where}: nothing reaches beyond {WIDTH} px", seen["width"] == seen["scroll"] == WIDTH and not seen["beyond"], seen)
    check(f"{where}: text is readable", seen["contrast"] >= 4.5, seen)
    check(f"{where}: the policy lets the style through", seen["style"] != "0px", seen)


def in_each_language(phone: Phone, service: str, screenshots: pathlib.Path):
    headlines, least = set(), 21
    for language in LANGUAGES:
        for scheme in SCHEMES:
            for name, path in PAGES.items():
                seen = phone.looks_at(f"{service}{path}ui_locales={language}", scheme)
                where = f"{name} in {language}, {scheme}"
                is_right(seen, language, where)
                is_error = name != "connected"
                check(f"{where}: a request id", bool(seen["id"]) == is_error, seen)
                check(f"{where}: an id reads from left to right", seen["id_direction"] == ("ltr" if is_error else None), seen)
                headlines.add(seen["h1"])
                least = min(least, seen["contrast"])
                phone.screenshot(screenshots / f"{language}-{scheme}-{name}.png")
    check("each headline is of its own language", len(headlines) == len(LANGUAGES) * len(PAGES), headlines)
    print(f"languages: {len(LANGUAGES)} languages, {len(PAGES)} pages, {len(SCHEMES)} schemes: nothing is wider than "
          f"{WIDTH} px, and the least contrast of text is {least:.2f}", flush=True)


def by_the_browser(phone: Phone, service: str):
    for header, language in (("ja,en-US;q=0.9", "ja"), ("zh-HK,zh;q=0.9,en;q=0.8", "zh-Hant"), ("zh-CN,zh;q=0.9", "en"), ("ar-EG", "ar")):
        phone.prefers(header)
        is_right(phone.looks_at(f"{service}/nowhere", "light"), language, header)
    print("languages: the browser's Accept-Language decides where nothing else does", flush=True)


def to_the_end_of_a_flow(phone: Phone, service: str):
    """The link says Korean, and the browser Arabic."""
    for button, path in (("deny", "/callback"), ("allow", "/connected")):
        phone.browser.get(f"{service}/authorize?ui_locales=ko")
        phone.browser.find_element("css selector", "label[for^='account-']").click()
        phone.browser.find_element("id", button).click()
        is_back = lambda: phone.browser.current_url.startswith(f"{service}{path}")
        waiting.eventually("languages", f"the flow comes back after {button}", is_back, PATIENCE)
        is_right(phone.browser.execute_script(LOOK), "ko", f"after {button}")
    print("languages: a flow keeps the language of its link to its end", flush=True)


def main(command: str, screenshots: str = "target/languages"):
    folder = pathlib.Path(screenshots)
    folder.mkdir(parents=True, exist_ok=True)
    # Each file of words is a language here, and the other way round.
    files = {path.stem for path in WORDS.glob("*.rs")} - {"mod", "table"}
    check("each language is looked at", len(files) == len(LANGUAGES), files)
    with tempfile.TemporaryDirectory() as home, development(command, home, BRAND) as addresses, Phone() as phone:
        service = addresses["service_url"].rstrip("/")
        in_each_language(phone, service, folder)
        by_the_browser(phone, service)
        to_the_end_of_a_flow(phone, service)


if __name__ == "__main__":
    main(*sys.argv[1:])
