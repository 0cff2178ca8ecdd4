"""The server's application: one campaign, or several below /c/NAME, and what belongs to all of them.

/, /c/{campaign}/…              the pages of the campaigns: annotations.page.app
GET /a/{token}                  with several: leads to the campaign of a secret link from before
GET /static/{version}/{name}    scripts and styles, without any data of a campaign
GET /healthz                    200 while votes of all campaigns can be saved, else 503 with the reason
GET /metrics                    for Prometheus (annotations.page.metrics), to whoever sends the token, if there is one
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from annotations.campaign.folder import LOG
from annotations.campaign.state import State
from annotations.page.app import Page
from annotations.page.files import static_response
from annotations.page.metrics import CONTENT_TYPE, Family, Sample, exposition, latency
from annotations.page.plain import Plain
from annotations.page.proxy import BehindProxy, PerAddress
from annotations.page.security import Buckets, Denied, Guarded, denied_response, http_error_response

HEALTH_SECONDS = 5.0
"""Time for which a result of /healthz counts: each check writes a file."""
STATES = ("running", "paused", "closed", "failed")


class Site:
    """The pages of a server. failed: campaigns that could not be opened. token: for /metrics; "" if it is off."""

    def __init__(self, pages: Sequence[Page], *, failed: Sequence[str] = (), token: str = "") -> None:
        self.pages, self.failed, self._token = pages, failed, token
        self.connections: Callable[[], int] = lambda: 0
        """Of the server, at the moment."""
        limits = pages[0].limits
        self._strangers = Buckets(limits.stranger_rate, limits.stranger_burst, remembered=limits.remembered)
        self._health, self._checked = "", -HEALTH_SECONDS

    def app(self, *, behind_proxy: bool = False) -> ASGIApp:
        """The ASGI application. behind_proxy: trust the headers of a proxy on this machine or a private network."""
        routes: list[BaseRoute] = [Route("/healthz", self._healthz), Route("/static/{path:path}", self._static)]
        if self._token:
            routes.append(Route("/metrics", self._metrics))
        for page in self.pages:
            if root := page.sessions.root:
                routes.append(Route(root, lambda _, home=f"{root}/": RedirectResponse(home, 308)))
            routes.append(Mount(root, routes=page.routes()))
        if self.pages[0].sessions.root:
            routes += [Route("/a/{token}", self._enter), Route("/", self._nothing)]
        handlers = {Denied: denied_response, HTTPException: http_error_response}
        app = PerAddress(Guarded(Starlette(routes=routes, exception_handlers=handlers)))
        return BehindProxy(app) if behind_proxy else app

    async def _static(self, request: Request) -> Response:
        response = static_response(request, request.path_params["path"])
        if response is None:
            raise Denied(404, "not-served", "not found")
        return response

    async def _enter(self, request: Request) -> Response:
        """A secret link of a campaign that had the server to itself when it was printed."""
        token = request.path_params["token"]
        for page in self.pages:
            if page.session.visitor(token) is not None:
                return RedirectResponse(f"{page.sessions.root}/a/{token}", 307)
        self._strangers.take(request.client.host if request.client else "")
        return Plain.of(request).message("by-invitation", "link-unknown", status=403)

    async def _nothing(self, request: Request) -> Response:
        return Plain.of(request).message("by-invitation", "link-needed", status=401)

    async def _healthz(self, _: Request) -> Response:
        if time.monotonic() >= self._checked + HEALTH_SECONDS:
            self._checked = time.monotonic()
            self._health = await asyncio.to_thread(self._problem)
        return PlainTextResponse(f"{self._health or 'ok'}\n", 503 if self._health else 200)

    def _problem(self) -> str:
        """Why votes cannot be saved, by campaign."""
        found = {page.sessions.campaign: page.session.health() for page in self.pages}
        return "\n".join(f"{campaign}: {problem}" for campaign, problem in found.items() if problem)

    async def _metrics(self, request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            self._strangers.take(request.client.host if request.client else "")
            raise Denied(401, "no-token", "the token of --metrics is needed")
        families = await asyncio.to_thread(self._families)
        return Response(exposition(families), headers={"content-type": CONTENT_TYPE})

    def _families(self) -> list[Family]:
        pages = {page.sessions.campaign: page for page in self.pages}
        facts = {name: page.session.read(_facts) for name, page in pages.items()}
        states = {name: fact.state for name, fact in facts.items()} | dict.fromkeys(self.failed, "failed")
        paths = {name: page.session.folder / LOG for name, page in pages.items()}
        logs = {name: path.stat().st_size for name, path in paths.items() if path.exists()}
        accepted = {name: page.meter.accepted for name, page in pages.items()}
        refused = [
            Sample({"campaign": name, "reason": code}, count)
            for name, page in pages.items()
            for code, count in sorted(page.meter.refused.items())
        ]
        seconds = [sample for name, page in pages.items() for sample in latency({"campaign": name}, page.meter)]
        state = [Sample({"campaign": name, "state": one}, one == now) for name, now in states.items() for one in STATES]
        leases = {name: fact.leases for name, fact in facts.items()}
        votes = {name: fact.votes for name, fact in facts.items()}
        wanted = {name: fact.wanted for name, fact in facts.items()}
        return [
            Family("connections", "gauge", "Open connections.", [Sample({}, self.connections())]),
            Family("votes_accepted_total", "counter", "Votes accepted since the start.", _samples(accepted)),
            Family("votes_refused_total", "counter", "Votes refused since the start.", refused),
            Family("vote_seconds", "histogram", "Time of an accepted vote, from its request to the disk.", seconds),
            Family("leases", "gauge", "Questions that are handed out and not answered.", _samples(leases)),
            Family("votes", "gauge", "Votes of the campaign that count.", _samples(votes)),
            Family("votes_wanted", "gauge", "Votes wanted in total.", _samples(wanted)),
            Family("log_bytes", "gauge", "Size of the log.", _samples(logs)),
            Family("campaign_state", "gauge", "1 for the state of the campaign.", state),
        ]


class Facts(NamedTuple):
    """What /metrics shows of a campaign's state."""

    state: str
    leases: int
    votes: int
    wanted: int


def _facts(state: State) -> Facts:
    now = "closed" if state.closed else "paused" if state.paused else "running"
    return Facts(now, 0 if state.closed else state.held, state.votes, state.config.votes)


def _samples(values: Mapping[str, float]) -> list[Sample]:
    return [Sample({"campaign": name}, value) for name, value in values.items()]
