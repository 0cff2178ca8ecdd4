"""Chromium driven by Playwright: windows of desktop or phone size, and the errors that they report."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import httpx
import pytest

from schemas.campaign import Task
from tests.campaigns import make_campaign, pair
from tests.pages import Here
from tests.video_files import encode

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")

GLANCE = 350
"""Milliseconds before a new question can be answered."""
SERIOUS = ("serious", "critical")


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser for the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


NOTHING = "http://127.0.0.1:9/"
"""An empty page of the same site as all others, so that the process of the window stays."""
IDLE: dict[tuple[Any, ...], list[Any]] = {}
"""Browser and kind of window -> pages that no test uses. A new window costs three seconds of CPU time."""


class Screen:
    """One window, with a profile of its own."""

    open: ClassVar[list[Screen]] = []

    def __init__(self, browser: Any, *, width: int = 1440, height: int = 900, touch: bool = False, **more: Any) -> None:
        self.kind = (browser, touch, *sorted(more.items()))
        self.scheme = more.get("color_scheme", "light")
        if idle := IDLE.get(self.kind):
            self.page = idle.pop()
            self.context = self.page.context
            self.page.set_viewport_size({"width": width, "height": height})
        else:
            shape = {"viewport": {"width": width, "height": height}, "has_touch": touch, "is_mobile": touch}
            self.context = browser.new_context(**{"service_workers": "block", **shape, **more})
            self.context.set_default_timeout(20_000)
            self.context.clock.install()  # it runs; ``vote`` moves it on in place of waiting
            self.page = self.context.new_page()
        self.complaints: list[str] = []
        """Errors of scripts, and what the content security policy refused."""
        self._listeners = {"pageerror": self._failed, "console": self._heard, "dialog": self._asked}
        for event, listener in self._listeners.items():
            self.page.on(event, listener)
        Screen.open.append(self)

    def release(self) -> None:
        """Empty the window for another test; one whose page was closed is closed."""
        if self.page.is_closed() or not self.page.url.startswith("http"):  # a file is of another site
            self.context.close()
            return
        for other in self.context.pages:
            if other != self.page:
                other.close()
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        self.page.unroute_all(behavior="ignoreErrors")
        self.context.set_offline(False)
        self.context.clear_cookies()
        self.page.emulate_media(color_scheme=self.scheme)
        self.page.evaluate("() => localStorage.clear()")
        self.page.route(NOTHING, lambda route: route.fulfill(body=""))
        self.page.goto(NOTHING)
        self.page.unroute_all()
        IDLE.setdefault(self.kind, []).append(self.page)

    def _failed(self, error: Any) -> None:
        self.complaints.append(str(error))

    def _asked(self, dialog: Any) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.accept()

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def enter(self, here: Here, name: str = "ann") -> Screen:
        """Open the page with the cookie that the secret link sets, which takes less time than the link."""
        link = httpx.get(f"{here.url}/a/{here.tokens[name]}", trust_env=False)
        cookies = [{"name": name, "value": value, "url": here.url} for name, value in link.cookies.items()]
        self.context.add_cookies(cookies)
        self.page.goto(f"{here.url}/")
        if name == "max":
            self.page.locator("#annotators tr").first.wait_for()
        else:
            self.page.locator("#work:not([hidden]), #idle:not([hidden])").wait_for()
        return self

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def vote(self, key: str) -> None:
        """Press a key after the minimum time of a question."""
        self.glance()
        self.press(key)

    def glance(self) -> None:
        """Advance the page's clock by the minimum time of a question."""
        self.page.clock.fast_forward(GLANCE)

    def question(self) -> str:
        return str(self.page.locator("#question").inner_text())

    def text(self, selector: str, wanted: str) -> None:
        """Wait until an element has the text."""
        self.page.locator(selector).filter(has_text=wanted).first.wait_for()

    def votes(self, count: int) -> None:
        """Wait until the page says that so many votes are saved."""
        self.text("#progress-text", f"{count} ")
        self.page.wait_for_function(
            "() => /saved/.test(document.querySelector('#save-state, #idle-state').textContent)"
        )
        self.page.wait_for_function("() => !/Saving|not saved/.test(document.body.innerText)")

    def watch(self) -> None:
        """Play the video to its end."""
        self.page.evaluate("() => { const v = document.querySelector('video'); v.muted = true; return v.play(); }")
        self.page.wait_for_function("() => document.querySelector('video').ended")

    def axe(self, impacts: tuple[str, ...] = SERIOUS, rules: list[str] | None = None) -> list[str]:
        """The violations of these impacts that axe finds, by some or all of its rules."""
        from axe_playwright_python.base import AXE_SCRIPT

        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        # Animations of colours must be over; one that was cancelled is.
        settled = "Promise.allSettled(document.getAnimations().map((one) => one.finished))"
        self.page.evaluate(f"() => {settled}.then(() => {{}})")
        run = "(more) => axe.run({resultTypes: ['violations'], ...more}).then((found) => found.violations)"
        violations = self.page.evaluate(run, {"runOnly": rules} if rules else {})
        return [
            f"{one['id']} ({one['impact']}): {node['html'][:150]} {node.get('failureSummary', '')}"
            for one in violations
            if one["impact"] in impacts
            for node in one["nodes"]
        ]


def clip_campaign(
    folder: Path, *, videos: int = 1, pairs: int = 3, tasks: list[Task] | None = None, **config: Any
) -> Path:
    """Pairs on real clips of a second and a half, of 20 frames per second."""
    tasks = tasks or [pair(number, video=f"clip{number // pairs}.mp4") for number in range(videos * pairs)]
    made = make_campaign(folder, [task.model_copy(update={"video_seconds": 1.5}) for task in tasks], **config)
    for number in range(videos):
        (made / "media" / f"clip{number}.mp4").write_bytes(clip())
    return made


@cache
def clip() -> bytes:
    """An mp4 file of a second and a half."""
    with TemporaryDirectory() as folder:
        return encode(Path(folder) / "clip.mp4", range(0, 1500, 50), size=128).read_bytes()


def logged(folder: Path, event: Literal["vote", "undo", "skip"] = "vote") -> list[dict[str, Any]]:
    """The events of a kind in the campaign's log."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_bytes().splitlines()]
    return [line for line in lines if line["event"] == event]
