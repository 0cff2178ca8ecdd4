"""The page for tests: a real campaign and server on loopback, and a client with its session cookie."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from annotations.campaign.auth import read_members, with_revoked, write_members
from annotations.campaign.session import CampaignSession
from annotations.page.app import Page
from annotations.page.security import PAGE_HEADER, STANDARD, Limits, Sessions
from annotations.page.server import address, listen, make_server
from annotations.page.site import Site
from schemas.campaign import AnnotatorView
from tests.campaigns import BEGIN, invite


class Visit:
    """A client with the session cookie and the page token."""

    def __init__(self, url: str, token: str = "") -> None:
        self.client = httpx.Client(base_url=url, timeout=20, trust_env=False, verify=False)  # no TLS here
        self.headers: dict[str, str] = {}
        if token:
            assert self.client.get(f"/a/{token}").status_code == 200
            self.headers = {PAGE_HEADER: self.client.get("/api/view").headers.get(PAGE_HEADER, "")}

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def post(self, path: str, body: object, **headers: str) -> httpx.Response:
        return self.client.post(path, json=body, headers={**self.headers, **headers})

    def open(self) -> list[str]:
        """The ids of the questions that are open."""
        return [question["question_id"] for question in self.get("/api/view").json()["sheet"]["questions"]]

    def vote(self, question: str, **other: object) -> httpx.Response:
        ballot = {"question_id": question, "vote_id": f"vote-{question}"[:64], "outcome": "left", "seconds": 9}
        return self.post("/api/vote", ballot | other)


@dataclass
class Here:
    """A running page."""

    folder: Path
    campaign: CampaignSession
    url: str
    tokens: dict[str, str]
    """Of ann, an annotator, and of max, a manager."""

    def visit(self, name: str = "") -> Visit:
        return Visit(self.url, self.tokens[name] if name else "")

    def revoke(self, name: str) -> None:
        write_members(self.folder, with_revoked(read_members(self.folder), (name,), BEGIN))

    def votes(self) -> int:
        """Of ann, known answers too."""
        view = self.campaign.view("ann")
        assert isinstance(view, AnnotatorView)
        return view.votes


@contextlib.contextmanager
def page_of(
    folder: Path,
    *,
    url: str = "",
    limits: Limits = STANDARD,
    port: int = 0,
    tokens: dict[str, str] | None = None,
    wrap: Callable[[CampaignSession], Any] = lambda campaign: campaign,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    root: str = "",
    behind_proxy: bool = False,
    **more: Any,
) -> Iterator[Here]:
    """Open a campaign and serve its page in a thread for the block."""
    if tokens is None:
        tokens = invite(folder, "ann") | invite(folder, "max", role="manager")
    with CampaignSession.open(folder, clock=clock) as campaign:
        listener = listen("127.0.0.1", port)
        site = Site([Page(wrap(campaign), Sessions("test", url, root), limits)], **more)
        running = make_server(site, behind_proxy=behind_proxy)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Here(folder, campaign, address(listener) + root, tokens)
        finally:
            running.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


class Instead:
    """A campaign session with some methods replaced."""

    def __init__(self, campaign: CampaignSession, **methods: Callable[..., Any]) -> None:
        self.campaign = campaign
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.campaign, name)
