"""Debian's Chromium, with a profile that nobody has used."""

import shutil

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=900,760",
]


def start() -> webdriver.Chrome:
    options = Options()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    # WebDriver would wave every certificate through otherwise, and a person's browser does not.
    options.accept_insecure_certs = False
    # Without an own path, Selenium would go and download a driver.
    return webdriver.Chrome(options, Service(shutil.which("chromedriver")))
