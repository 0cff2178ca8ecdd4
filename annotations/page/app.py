"""The page over HTTP: its routes, and who may ask each.

GET  /a/{token}        the secret link: sets the cookie, goes on to /
GET  /                 the annotator's page or the manager's; without a link, how to get in
GET  /api/desk         what the annotator holds; its header carries the token that changes need
POST /api/vote         a ballot → the next desk, once the vote is on the disk; 409 with the reason where refused
POST /api/undo         {} → the desk with the last question open again
POST /api/skip         {question_id, reason} → the next desk
POST /api/leave        {} → the cookie is gone
GET  /api/status       the campaign, live (managers)
GET  /media/{name}     a file of the campaign, whole or by ranges
GET  /static/{name}    scripts and styles: nothing of the campaign
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from annotations.campaign.service import Service, Visitor
from annotations.page.answers import Defects, Denied, denied, http_error
from annotations.page.headers import SafeHeaders
from annotations.page.limits import STANDARD, Buckets, Limits, read_body
from annotations.page.markdown import rendered
from annotations.page.media import media_response
from annotations.page.requests import Nothing, Skip
from annotations.page.sessions import HEADER, Sessions, page_token
from annotations.page.static import static_response, template
from schemas.base import Document
from schemas.campaign import Ballot, Desk, Refusal, Role

T = TypeVar("T")
D = TypeVar("D", bound=Document)
THREADS = 256
"""Calls of the service at once: each may wait for the disk."""


class Page:
    """One campaign behind the routes."""

    def __init__(self, service: Service, sessions: Sessions, limits: Limits = STANDARD) -> None:
        self.service, self.sessions, self.limits = service, sessions, limits
        self._threads = anyio.CapacityLimiter(THREADS)
        bucket = partial(Buckets, remembered=limits.remembered)
        self._sessions = bucket(limits.session_rate, limits.session_burst)
        self._strangers = bucket(limits.stranger_rate, limits.stranger_burst)

    def app(self) -> ASGIApp:
        """The ASGI application. The headers are outermost: an answer to a defect has them too."""
        routed = Starlette(
            routes=[
                Route("/a/{token}", self._enter),
                Route("/", self._home),
                Route("/api/desk", self._desk),
                Route("/api/vote", self._vote, methods=["POST"]),
                Route("/api/undo", self._undo, methods=["POST"]),
                Route("/api/skip", self._skip, methods=["POST"]),
                Route("/api/leave", self._leave, methods=["POST"]),
                Route("/api/status", self._status),
                Route("/media/{name}", self._media),
                Route("/static/{name}", self._static),
            ],
            middleware=[Middleware(Defects)],
            exception_handlers={Denied: denied, HTTPException: http_error},
        )
        return SafeHeaders(routed)

    async def _enter(self, request: Request) -> Response:
        token = request.path_params["token"]
        if await self._visitor(request, token) is None:
            text = "This link is not known here, or it was withdrawn. Ask whoever sent it for a new one."
            return HTMLResponse(template("entrance.html", text=text), 403)
        return self.sessions.enter(token, template("enter.html"))

    async def _home(self, request: Request) -> Response:
        visitor = await self._visitor(request, self.sessions.token(request))
        if visitor is None:
            text = "This page is open to those who were invited. Use the link that you were sent."
            return HTMLResponse(template("entrance.html", text=text), 401)
        if visitor.role == "manager":
            return HTMLResponse(template("manager.html"))
        desk = await self._call(self.service.desk, visitor.name)
        digest = hashlib.sha256(desk.instructions.encode()).hexdigest()[:16] if desk.instructions.strip() else ""
        return HTMLResponse(template("annotator.html", digest=digest, instructions=rendered(desk.instructions)))

    async def _desk(self, request: Request) -> Response:
        token, visitor = await self._session(request, "annotator")
        response = _answer(await self._call(self.service.desk, visitor.name))
        response.headers[HEADER] = page_token(token)
        return response

    async def _vote(self, request: Request) -> Response:
        visitor, ballot = await self._change(request, Ballot)
        return _answer(await self._call(self.service.vote, visitor.name, ballot))

    async def _undo(self, request: Request) -> Response:
        visitor, _ = await self._change(request, Nothing)
        return _answer(await self._call(self.service.undo, visitor.name))

    async def _skip(self, request: Request) -> Response:
        visitor, skip = await self._change(request, Skip)
        return _answer(await self._call(self.service.skip, visitor.name, skip.question_id, skip.reason))

    async def _leave(self, request: Request) -> Response:
        token, _ = await self._session(request)
        self.sessions.check_change(request, token)
        return self.sessions.leave()

    async def _status(self, request: Request) -> Response:
        token, _ = await self._session(request, "manager")
        status = await self._call(self.service.status)
        return Response(status.model_dump_json(), media_type="application/json", headers={HEADER: page_token(token)})

    async def _media(self, request: Request) -> Response:
        await self._session(request)
        path = await self._call(self.service.media, request.path_params["name"])
        if path is None:
            raise Denied(404, "no-media", "the campaign has no such file")
        return media_response(request, path)

    async def _static(self, request: Request) -> Response:
        response = static_response(request, request.path_params["name"])
        if response is None:
            raise Denied(404, "not-served", "there is nothing here")
        return response

    async def _change(self, request: Request, form: type[D]) -> tuple[Visitor, D]:
        """Who sends a change, and what. Raises Denied where it may not be theirs, or is not of that form."""
        token, visitor = await self._session(request, "annotator")
        self.sessions.check_change(request, token)
        body = await read_body(request, self.limits)
        try:
            return visitor, form.model_validate_json(body)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the request"
            raise Denied(422, "malformed", f"{where}: {first['msg']}") from error

    async def _session(self, request: Request, role: Role | None = None) -> tuple[str, Visitor]:
        """The token and whose it is. Raises Denied without one that is valid now, or of another role than asked."""
        token = self.sessions.token(request)
        visitor = await self._visitor(request, token)
        if visitor is None:
            raise Denied(401, "no-session", "your link is not valid any more: use the link that you were sent")
        if role is not None and visitor.role != role:
            raise Denied(403, "other-role", f"this is for {role}s")
        return token, visitor

    async def _visitor(self, request: Request, token: str) -> Visitor | None:
        """Whose the token is. A stranger's requests are counted by address, others' by link."""
        visitor = self.service.visitor(token) if token else None  # no thread: it looks at one file's state
        if visitor is None:
            self._strangers.take(request.client.host if request.client else "")
        else:
            self._sessions.take(token)
        return visitor

    async def _call(self, function: Callable[..., T], *args: Any) -> T:
        """A call of the service, in a thread: it may wait for the disk."""
        return await anyio.to_thread.run_sync(partial(function, *args), limiter=self._threads)


STATUS = {"disk-full": 507, "stopped": 403, "closed": 410}
"""Refusals with a status of their own; the others conflict with what the annotator holds by now: 409."""


def _answer(result: Desk | Refusal) -> Response:
    """A desk without its instructions, which the page has already; or why there is none."""
    if isinstance(result, Refusal):
        return Response(result.model_dump_json(), STATUS.get(result.code, 409), media_type="application/json")
    return Response(result.model_dump_json(exclude={"instructions"}), media_type="application/json")
