"""Security of the page: error responses, strict headers, sessions by cookie, and limits on size and rate."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

# Errors


class Denied(Exception):
    """A request that is refused. ``code`` is for the page's script, the message for the person."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        """Seconds after which the request may be repeated."""


async def denied_response(request: Request, error: Exception) -> Response:
    """The refusal as JSON for the page's script, as plain text for everyone else."""
    assert isinstance(error, Denied)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    if "/api/" in request.url.path and error.status != 429:
        return JSONResponse({"code": error.code, "message": str(error)}, error.status, headers=headers)
    return PlainTextResponse(str(error), error.status, headers=headers)


async def http_error_response(request: Request, error: Exception) -> Response:
    """The response to an error that Starlette raises: an unknown route, or a wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "not found", 405: "method not allowed"}.get(status, "this request cannot be served")
    return await denied_response(request, Denied(status, "not-served", text))


# Headers

DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob:",  # of files that the page itself has loaded in advance
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # browsers that support it refuse innerHTML
}


def policy(changes: Mapping[str, str]) -> str:
    """The content security policy with some directives changed."""
    return "; ".join(f"{name} {value}" for name, value in {**DIRECTIVES, **changes}.items())


POLICY = policy({})
FIXED_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    b"x-robots-tag": b"noindex, nofollow",
}
CHANGEABLE = (b"content-security-policy", b"referrer-policy")
"""Headers that the application may set for a page. With its own policy, X-Frame-Options is left to frame-ancestors."""
CACHE = b"cache-control"


class Guarded:
    """ASGI middleware: strict headers on every response, and no traceback in the response to an exception.

    Cache-Control is no-store unless the application sets it. The traceback goes to the server's log.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = complete = False

        async def guarded(message: Message) -> None:
            nonlocal started, complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            if message["type"] == "http.response.start":
                started = True
                own = [
                    header
                    for header in message.get("headers", ())
                    if header[0] not in FIXED_HEADERS or header[0] in CHANGEABLE
                ]
                names = {name for name, _ in own}
                if CACHE not in names:
                    own.append((CACHE, b"no-store"))
                framed = {b"x-frame-options"} if CHANGEABLE[0] in names else set()
                fixed = [header for header in FIXED_HEADERS.items() if header[0] not in names | framed]
                message["headers"] = [*own, *fixed]
            await send(message)

        try:
            await self.app(scope, receive, guarded if scope["type"] == "http" else send)
        except Exception:
            if scope["type"] != "http" or (started and not complete):
                raise  # the response is incomplete: the connection must be closed
            log.exception("a request failed")
            if complete:  # Starlette has answered; the connection may be used again
                return
            refusal = Denied(500, "failed", "the server failed on this request; nothing was lost, please try again")
            await (await denied_response(Request(scope), refusal))(scope, receive, guarded)


# Sessions

PAGE_HEADER = "x-curate-page"
"""The page token: sent by the server with each view, and by the page with each change."""


@dataclass(frozen=True)
class Sessions:
    """The session cookie of one campaign.

    url: the public address of the server, "" if it is the one that it listens on. root: the path of the campaign on the
    server, such as /c/june; "" for a campaign that has the server to itself. The cookie is only sent below this path.

    The cookie holds the token of the secret link, which is looked up on every request: revoking a link takes effect at
    once, and a restart of the server ends no session. Scripts cannot read the cookie (HttpOnly) and other sites cannot
    send it (SameSite=Strict). A change must also be JSON, come from our origin, and carry a header whose value only a
    page of this origin can read.
    """

    campaign: str
    url: str = ""
    root: str = ""

    def cookie(self, request: Request) -> dict[str, Any]:
        """The cookie's name and attributes; Secure if the public address or the outer scheme is https.

        The name contains the campaign: cookies ignore ports, and one host may serve two campaigns. Browsers accept
        __Host- only for the whole host, __Secure- for a path.
        """
        secure = self.url.startswith("https://") or request.scope["scheme"] == "https"
        prefix = ("__Secure-" if self.root else "__Host-") if secure else ""
        attributes = {"path": self.root or "/", "httponly": True, "samesite": "strict", "secure": secure}
        return {"key": prefix + self._name, **attributes}

    @cached_property
    def _name(self) -> str:
        return f"curate-{hashlib.sha256(self.campaign.encode()).hexdigest()[:12]}"

    def token(self, request: Request) -> str:
        """The token of the request; "" without one."""
        return request.cookies.get(self.cookie(request)["key"], "")[:256]

    def begin(self, request: Request, token: str, response: Response) -> Response:
        """The response, which sets the cookie: a page that then opens the campaign's.

        It is a page, not a redirect: after a click in a mail or chat, browsers do not send a SameSite=Strict cookie
        with a redirect, but they do send it from a page of ours.
        """
        response.set_cookie(value=token, **self.cookie(request))
        return response

    def end(self, request: Request) -> Response:
        """A response that deletes the cookie."""
        response = Response(status_code=204)
        response.delete_cookie(**self.cookie(request))
        return response

    def check_change(self, request: Request, token: str) -> None:
        """Raise Denied if a page of another origin may have sent the change."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Denied(415, "not-json", "the request must be JSON")
        self.check_form(request, token, request.headers.get(PAGE_HEADER, ""))

    def check_form(self, request: Request, token: str, given: str) -> None:
        """Raise Denied if a page of another origin may have sent the form. given: the page token in the form."""
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise Denied(403, "other-origin", "the request came from another site")
        origin = request.headers.get("origin")
        if origin is not None and not self._is_own(origin, request):
            raise Denied(403, "other-origin", "the request came from another site")
        if not hmac.compare_digest(given.encode(), page_token(token).encode()):
            raise Denied(403, "no-page-token", "this page is out of date: please reload it")

    def _is_own(self, origin: str, request: Request) -> bool:
        parts = urlsplit(origin)
        if self.url and (parts.scheme, parts.netloc) == urlsplit(self.url)[:2]:
            return True
        return parts.scheme == request.url.scheme and parts.netloc == request.headers.get("host")


def page_token(token: str) -> str:
    """The token that a page sends with each change: derived from the link's token, which it does not reveal."""
    return hmac.new(token.encode(), b"curate page", hashlib.sha256).hexdigest()[:32]


# Limits


@dataclass(frozen=True)
class Limits:
    """Limits on the requests of one visitor."""

    body_bytes: int = 16_384
    """Size of a request body; a vote with the longest reason fits."""
    body_seconds: float = 20.0
    """Time within which the body must arrive."""
    session_rate: float = 15.0
    """Requests per second of one link in the long run; seeking in a video causes many."""
    session_burst: int = 90
    """Requests at once before the rate applies."""
    stranger_rate: float = 2.0
    """Requests per second of one address without a valid link."""
    stranger_burst: int = 60
    join_rate: float = 0.2
    """Arrivals from a crowd per second and address."""
    join_burst: int = 30
    remembered: int = 20_000
    """Visitors whose rates are kept; the least recent ones are dropped."""


STANDARD = Limits()


class Buckets:
    """A token bucket per key: ``burst`` requests at once, ``rate`` per second in the long run."""

    def __init__(
        self, rate: float, burst: int, *, remembered: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.remembered, self.clock = rate, burst, remembered, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key -> (requests left, time), the least recent key first."""

    def take(self, key: str) -> None:
        """Count one request. Raises Denied (429) if none is left."""
        now = self.clock()
        left, since = self._left.pop(key, (float(self.burst), now))
        left = min(float(self.burst), left + (now - since) * self.rate)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > self.remembered:
            self._left.popitem(last=False)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / self.rate))
            raise Denied(429, "too-many", f"too many requests: wait {wait} s, then try again", retry_after=wait)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The request body. Raises Denied if it is too large (413) or too slow (408)."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise Denied(413, "too-large", f"the request is too large: at most {limits.body_bytes:,} bytes")
    except TimeoutError as error:
        raise Denied(408, "too-slow", f"the request did not arrive within {limits.body_seconds:g} s") from error
    return bytes(body)
