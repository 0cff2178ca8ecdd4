"""The routes of the page and the role that each needs.

GET  /a/{token}        the secret link: sets the session cookie and opens /
GET  /                 the annotator's or the manager's page; without a session, how to get in
GET  /service-worker.js  what opens the page without a connection; no data of the campaign
GET  /api/view         the annotator's view (AnnotatorView); a header carries the token that changes need
POST /api/vote         a ballot → the next view, once the vote is on the disk; 409 with the reason if refused; both with
                       the ballot's vote_id, by which the page knows that no proxy or portal has answered
POST /api/undo         {} → the view with the last question open again
POST /api/skip         {question_id, reason} → the next view
POST /api/problem      {video} → notes that the annotator's browser cannot load it
POST /api/leave        {} → ends the session
GET  /api/status       the campaign's status (CampaignStatus), for managers
GET  /api/events       the same as server-sent events, whenever it changes
POST /api/manage       a manager's action (schemas.management) → the status, with the links of those invited
GET  /media/{name}     a file of the campaign, whole or by ranges
/join, /join/…         the pages of a crowd, if the campaign is open to one: annotations.page.join

All of them are below the campaign's path on the server (annotations.page.site).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from annotations.campaign.auth import Visitor
from annotations.campaign.session import CampaignSession
from annotations.page.files import media_response, rendered, service_worker, template
from annotations.page.join import Join
from annotations.page.markup import markup
from annotations.page.metrics import VoteMeter
from annotations.page.plain import Plain
from annotations.page.security import (
    PAGE_HEADER,
    STANDARD,
    Buckets,
    Denied,
    Limits,
    Sessions,
    page_token,
    read_body,
)
from annotations.page.texts import page_parts
from schemas.base import Document
from schemas.campaign import AnnotatorView, Ballot, Refusal, Role
from schemas.errors import CurateError
from schemas.management import Action
from schemas.messages import described

T = TypeVar("T")
D = TypeVar("D", bound=Document)
THREADS = 256
"""Simultaneous calls of the session; each may wait for the disk."""
TICK, HEARTBEAT = 1.0, 15.0
"""Seconds between two looks at the status for live views, and between two signs of life without a change."""
MAX_STREAMS = 32
"""Live views at once: each occupies a connection. A page beyond them asks again and again instead."""
STATUS_CODES = {"disk-full": 507, "stopped": 403, "closed": 410}
"""HTTP status of a refusal by its code; 409 for all others."""


class Empty(Document):
    """The body {}."""


class Skip(Document):
    """The body of /api/skip."""

    question_id: Annotated[str, Field(max_length=64)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Problem(Document):
    """The body of /api/problem."""

    video: Annotated[str, Field(max_length=256)]


class Wanted(Document):
    """The body of /api/manage."""

    action: Annotated[Action, Field(discriminator="action")]


class Page:
    """The pages of one campaign."""

    def __init__(self, session: CampaignSession, sessions: Sessions, limits: Limits = STANDARD) -> None:
        self.session, self.sessions, self.limits = session, sessions, limits
        self.meter = VoteMeter()
        self.stopping: Callable[[], bool] = lambda: False
        """Whether the server is about to stop."""
        self._streams = 0
        self._shown: dict[str, Any] = {}
        self._shown_at = 0.0
        self._threads = ThreadPoolExecutor(THREADS, "session")
        bucket = partial(Buckets, remembered=limits.remembered)
        self._known = bucket(limits.session_rate, limits.session_burst)
        self._strangers = bucket(limits.stranger_rate, limits.stranger_burst)
        self._join = None
        if session.crowd:
            self._join = Join(session, session.crowd, sessions, limits, self._call, self._authorize, self._plain)

    def routes(self) -> list[Route]:
        """The routes, below the campaign's path."""
        return [
            Route("/a/{token}", self._enter),
            Route("/", self._home),
            Route("/service-worker.js", self._worker),
            Route("/api/view", self._view),
            Route("/api/vote", self._vote, methods=["POST"]),
            Route("/api/undo", self._undo, methods=["POST"]),
            Route("/api/skip", self._skip, methods=["POST"]),
            Route("/api/problem", self._problem, methods=["POST"]),
            Route("/api/manage", self._manage, methods=["POST"]),
            Route("/api/events", self._events),
            Route("/api/leave", self._leave, methods=["POST"]),
            Route("/api/status", self._status),
            Route("/media/{name}", self._media),
            *(self._join.routes() if self._join else ()),
        ]

    async def _enter(self, request: Request) -> Response:
        token, at = request.path_params["token"], self._plain(request)
        if await self._visitor(request, token) is None:
            return at.message("by-invitation", "link-unknown", status=403)
        return self.sessions.begin(request, token, at.welcome("to-questions"))

    async def _home(self, request: Request) -> Response:
        token = self.sessions.token(request)
        visitor, at = await self._visitor(request, token), self._plain(request, token)
        if visitor is None:
            if self._join and (start := self._join.start(at)):
                return start
            return at.message("by-invitation", "link-needed", status=401)
        if visitor.role == "manager":
            return HTMLResponse(template("manager.html"))
        if self._join and (page := await self._join.stage_page(visitor.name, at)):
            return page
        view = await self._call(self.session.view, visitor.name)
        digest = hashlib.sha256(view.instructions.encode()).hexdigest()[:16] if view.instructions.strip() else ""
        parts = page_parts(at.language)
        own = {"digest": digest, "instructions": rendered(view.instructions)}
        return HTMLResponse(template("annotator.html", **parts, **own), headers={"vary": "accept-language"})

    def _plain(self, request: Request, token: str = "") -> Plain:
        """Pages without a script, for the visitor of a request."""
        return Plain.of(request, self.session.config.language, root=self.sessions.root, token=token)

    async def _worker(self, _: Request) -> Response:
        return service_worker()

    async def _view(self, request: Request) -> Response:
        token, visitor = await self._authorize(request, "annotator")
        response = self._answer(await self._call(self.session.view, visitor.name))
        response.headers[PAGE_HEADER] = page_token(token)
        return response

    async def _vote(self, request: Request) -> Response:
        with self.meter.vote() as counted:
            visitor, ballot = await self._change(request, Ballot)
            result = await self._call(self.session.vote, visitor.name, ballot)
            counted.code = result.code if isinstance(result, Refusal) else ""
        return self._answer(result, vote_id=ballot.vote_id)

    async def _undo(self, request: Request) -> Response:
        visitor, _ = await self._change(request, Empty)
        return self._answer(await self._call(self.session.undo, visitor.name))

    async def _skip(self, request: Request) -> Response:
        visitor, skip = await self._change(request, Skip)
        return self._answer(await self._call(self.session.skip, visitor.name, skip.question_id, skip.reason))

    async def _leave(self, request: Request) -> Response:
        token, _ = await self._authorize(request)
        self.sessions.check_change(request, token)
        return self.sessions.end(request)

    async def _status(self, request: Request) -> Response:
        token, _ = await self._authorize(request, "manager")
        body = to_json(await self._current())
        return Response(body, media_type="application/json", headers={PAGE_HEADER: page_token(token)})

    async def _current(self, max_age: float = 0.0) -> dict[str, Any]:
        """The status, at most so many seconds old: live views share one."""
        if time.monotonic() - self._shown_at > max_age:
            self._shown = (await self._call(self.session.status)).with_old_names()
            self._shown_at = time.monotonic()
        return self._shown

    async def _events(self, request: Request) -> Response:
        """A stream of the status, which ends when the link is revoked or the server stops. Few at once are allowed."""
        token, _ = await self._authorize(request, "manager")
        if self._streams >= MAX_STREAMS:
            raise Denied(429, "too-many", "too many live views: this one is updated less often", retry_after=60)

        async def stream() -> AsyncIterator[str]:
            sent, quiet = "", 0.0
            self._streams += 1
            try:
                while not self.stopping() and self.session.visitor(token) is not None:
                    body = to_json(await self._current(TICK / 2)).decode()
                    if body != sent or quiet >= HEARTBEAT:
                        yield f"data: {body}\n\n" if body != sent else ": no change\n\n"
                        sent, quiet = body, 0.0
                    quiet += TICK
                    await asyncio.sleep(TICK)
            finally:
                self._streams -= 1

        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)

    async def _manage(self, request: Request) -> Response:
        visitor, wanted = await self._change(request, Wanted, "manager")
        try:
            tokens = await self._call(self.session.manage, visitor.name, wanted.action)
        except CurateError as error:
            raise Denied(409, "not-possible", str(error)) from error
        except OSError as error:
            raise Denied(507, "disk-full", "not saved: the disk is full") from error
        site = self.sessions.url or str(request.base_url)
        home = site.rstrip("/") + self.sessions.root
        links = {name: f"{home}/a/{token}" for name, token in tokens.items()}
        return Response(to_json(await self._current() | {"links": links}), media_type="application/json")

    async def _problem(self, request: Request) -> Response:
        visitor, problem = await self._change(request, Problem)
        await self._call(self.session.problem, visitor.name, problem.video)
        return Response(status_code=204)

    def _answer(self, result: AnnotatorView | Refusal, **more: str) -> Response:
        """A view without the instructions, which the page has already, or a refusal. more: keys that are added."""
        status = STATUS_CODES.get(result.code, 409) if isinstance(result, Refusal) else 200
        document = result.model_dump(mode="json", exclude={"instructions"}) | more
        if self.session.config.answers == "markdown" and document.get("sheet"):
            for sheet in (document["sheet"], *document["ahead"]):
                for question in sheet["questions"]:
                    question |= {f"{side}_markup": markup(question[f"{side}_text"]) for side in ("left", "right")}
        return Response(to_json(document), status, media_type="application/json")

    async def _media(self, request: Request) -> Response:
        await self._authorize(request)
        path = await self._call(self.session.media, request.path_params["name"])
        if path is None:
            raise Denied(404, "no-media", "the campaign has no such file")
        return media_response(request, path)

    async def _change(self, request: Request, form: type[D], role: Role = "annotator") -> tuple[Visitor, D]:
        """The visitor and the body of a change. Raises Denied without authorization or for an invalid body."""
        token, visitor = await self._authorize(request, role)
        self.sessions.check_change(request, token)
        body = await read_body(request, self.limits)
        try:
            return visitor, form.model_validate_json(body)
        except ValidationError as error:
            raise Denied(422, "malformed", described(error)) from error

    async def _authorize(self, request: Request, role: Role | None = None) -> tuple[str, Visitor]:
        """The token and its owner. Raises Denied without a valid token, or for another role than required."""
        token = self.sessions.token(request)
        visitor = await self._visitor(request, token)
        if visitor is None:
            raise Denied(401, "no-session", "your link is no longer valid: please open the link that you received")
        if role is not None and visitor.role != role:
            raise Denied(403, "other-role", f"only for {role}s")
        return token, visitor

    async def _visitor(self, request: Request, token: str) -> Visitor | None:
        """The owner of the token. The request counts toward the rate of the link, or of the address of a stranger."""
        visitor = self.session.visitor(token) if token else None  # not in a thread: it only checks a file's state
        if visitor is None:
            self._strangers.take(request.client.host if request.client else "")
        else:
            self._known.take(token)
        return visitor

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a method of the session in a thread, because it may wait for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
