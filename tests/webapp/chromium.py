"""Debian's Chromium, with a profile that nobody has used."""

import pathlib
import shutil

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = pathlib.Path(__file__).parent.parent / "browser/chromium-flags"


def start() -> webdriver.Chrome:
    options = Options()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.read_text().split(), "--window-size=900,760"]:
        options.add_argument(flag)
    # WebDriver would wave every certificate through otherwise, and a person's browser does not.
    options.accept_insecure_certs = False
    # Without an own path, Selenium would go and download a driver.
    return webdriver.Chrome(options, Service(shutil.which("chromedriver")))
