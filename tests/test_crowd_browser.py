"""A crowd in a real browser, from the platform's page back to it; a local server stands in for the platform."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from annotations.page.arrivals import study_url
from tests.browsers import Screen, clip, needs_chromium
from tests.crowds import CODES, crowd_campaign
from tests.pages import Here, page_of

pytestmark = [needs_chromium, pytest.mark.slow]


class Platform:
    """A server that stands in for Prolific and MTurk, on another site than the study."""

    def __init__(self) -> None:
        platform = self
        self.study = ""
        """The study URL."""
        self.submitted: list[tuple[str, dict[str, str]]] = []
        """Path and fields of what came back."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/submissions/complete":  # https://app.prolific.com/submissions/complete?cc=…
                    platform.submitted.append((parts.path, dict(parse_qsl(parts.query))))
                    self.answer("<h1>Submission received</h1>")
                elif parts.path == "/hit":  # worker.mturk.com shows an ExternalQuestion in a frame
                    source = f"{platform.study}?{parts.query}&turkSubmitTo={urlencode({'': platform.url})[1:]}"
                    self.answer(f'<iframe src="{source.replace("&", "&amp;")}" width="700" height="700"></iframe>')
                else:
                    self.answer(f'<a href="{platform.study.replace("&", "&amp;")}">Open study</a>')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                platform.submitted.append((self.path, dict(parse_qsl(body))))
                self.answer("<h1>HIT submitted</h1>")

            def answer(self, body: str) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write(f"<!doctype html><title>Platform</title>{body}".encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}"


@contextmanager
def study(folder: Path, platform: str) -> Iterator[tuple[Here, Platform]]:
    """A study of one practice question and two votes, and the platform."""
    site = Platform()
    thread = threading.Thread(target=site.server.serve_forever)
    thread.start()
    config = {"qualification": 1, "stand_in": site.url if platform != "link" else ""}
    rules = "# Rules\n\nFacts first, then **style**."
    made = crowd_campaign(folder, platform, config=config, max_votes=2, gold_share=0, seconds=1.5, instructions=rules)
    (made / "media" / "clip.mp4").write_bytes(clip())
    try:
        with page_of(made, tokens={}) as here:
            site.study = study_url(here.url, platform)  # type: ignore[arg-type]
            yield here, site
    finally:
        site.server.shutdown()
        site.server.server_close()
        thread.join(10)


def take_part(screen: Screen, *, axe: bool = False) -> None:
    """From the consent text to the end. axe: every page is checked."""
    page = screen.page
    page.get_by_role("checkbox").check()
    assert not (axe and screen.axe())
    page.get_by_role("button", name="Continue").click()
    screen.text(".prose", "Facts first")
    assert not (axe and screen.axe())
    page.get_by_role("button", name="Begin the practice").click()
    page.locator("video").wait_for()
    question, buttons = (page.locator(name).bounding_box() for name in ("#question", ".choices"))
    assert question["y"] + question["height"] <= buttons["y"]  # nothing covers the question
    assert not (axe and screen.axe())
    right = "A is better" if page.locator(".answers .text").first.inner_text().startswith("first") else "B is better"
    page.get_by_role("button", name=right).click()
    screen.text(".note", f"Correct: {right}")
    assert not (axe and screen.axe())
    page.get_by_role("link", name="Continue").click()
    page.get_by_role("button", name="I have read this").click()
    for count, key in enumerate("ab", start=1):
        screen.vote(key)
        screen.votes(count)
    screen.text("#idle-title", "You are done")
    assert not (axe and screen.axe())
    page.get_by_role("link", name="Finish").click()
    assert not (axe and screen.axe())
    page.get_by_role("button", name="Finish").click()
    screen.text(".code", CODES["completed"])
    assert not (axe and screen.axe())


def test_prolific(browser: Any, tmp_path: Path) -> None:
    with study(tmp_path / "c", "prolific") as (_, site):
        filled = {"PROLIFIC_PID": "5f1a", "STUDY_ID": "61aa", "SESSION_ID": "62bb"}
        for name, value in filled.items():
            site.study = site.study.replace(f"{{{{%{name}%}}}}", value)
        screen = Screen(browser)
        screen.page.goto(site.url)
        screen.page.get_by_role("link", name="Open study").click()
        take_part(screen)
        screen.page.get_by_role("link", name="Return to Prolific").click()
        screen.page.get_by_text("Submission received").wait_for()
        assert site.submitted == [("/submissions/complete", {"cc": CODES["completed"]})]
        screen.page.goto(site.url)  # again, by the same submission
        screen.page.get_by_role("link", name="Open study").click()
        screen.text(".code", CODES["completed"])
    assert not screen.complaints


def test_mturk(browser: Any, tmp_path: Path) -> None:
    with study(tmp_path / "c", "mturk") as (_, site):
        screen = Screen(browser)
        hit = {"hitId": "H1", "workerId": "W1"}
        screen.page.goto(f"{site.url}/hit?{urlencode(hit | {'assignmentId': 'ASSIGNMENT_ID_NOT_AVAILABLE'})}")
        frame = screen.page.frame_locator("iframe")
        frame.get_by_text("Accept this HIT").wait_for()
        screen.page.goto(f"{site.url}/hit?{urlencode(hit | {'assignmentId': 'A1'})}")
        with screen.context.expect_page() as opened:
            frame.get_by_role("link", name="Open the study").click()
        main, screen.page = screen.page, opened.value
        take_part(screen)
        frame.get_by_role("link", name="I have finished").click()
        frame.get_by_role("button", name="Submit this HIT").click()
        frame.get_by_text("HIT submitted").wait_for()
        screen.page = main
    fields = {"assignmentId": "A1", "result": "completed", "code": CODES["completed"]}
    assert site.submitted == [("/mturk/externalSubmit", fields)]
    assert not screen.complaints


def test_a_plain_link_on_a_phone(browser: Any, tmp_path: Path) -> None:
    with study(tmp_path / "c", "link") as (_, site):
        screen = Screen(browser, width=360, height=740, touch=True, color_scheme="dark")
        screen.page.goto(site.study)
        screen.page.get_by_role("button", name="Begin").wait_for()
        assert screen.axe() == []
        screen.page.get_by_role("button", name="Begin").tap()
        code = screen.page.locator(".code").inner_text()
        assert screen.page.evaluate("() => document.documentElement.scrollWidth") == 360
        take_part(screen, axe=True)
        other = Screen(browser)
        other.page.goto(site.study)
        other.page.get_by_label("Your code").fill(code)
        other.page.get_by_role("button", name="Continue").click()
        other.text(".code", CODES["completed"])
    assert not screen.complaints + other.complaints
