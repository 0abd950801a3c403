"""A headless Chromium for tests: its own profile, nothing in the background, what its console said at the end."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=1280,800",
)  # fmt: skip
PATIENCE_S = 60


class Page:
    """One browser window of 1280 by 800."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.origin = ""

    def open(self, address: str) -> None:
        """Leave the page of before, with what its console said, for another."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.origin = "/".join(address.split("/")[:3])
        self.driver.get(address)

    def run(self, script: str, *arguments: object) -> Any:
        """Return what a piece of JavaScript returns."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: object) -> Any:
        """Return what a piece of JavaScript returns, once it is true."""
        return WebDriverWait(self.driver, PATIENCE_S).until(lambda driver: driver.execute_script(script, *arguments))

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def shoot(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(folder / f"{name}.png"))

    def errors(self) -> list[str]:
        """Return what the console called an error since the page was opened.

        A page of before, whose server is gone, may still be heard complaining: a line that names another server is not ours.
        """
        entries = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return [message for message in entries if self.origin in message or "http://" not in message]


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """Give a window; the profile folder is new for each."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield Page(driver)
    finally:
        driver.quit()


def served(server: Any) -> Callable[[], None]:
    """Run a server beside the test; returns what stops it."""
    running = threading.Thread(target=server.run)
    running.start()

    def stop() -> None:
        server.stop()
        running.join()

    return stop
