"""How requests are refused: a status and a short text for a person; what went wrong inside stays in the log."""

from __future__ import annotations

import logging

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


class Denied(Exception):
    """A request that is not served. ``code`` is for the page's script, the message for the person before it."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after
        """Seconds after which the same request may be served."""


async def denied(request: Request, error: Exception) -> Response:
    """JSON to the page's script, plain text to everyone else."""
    assert isinstance(error, Denied)
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else None
    if request.url.path.startswith("/api/") and error.status != 429:
        return JSONResponse({"code": error.code, "message": str(error)}, error.status, headers=headers)
    return PlainTextResponse(str(error), error.status, headers=headers)


async def http_error(request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such route, or the wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "there is nothing here", 405: "this cannot be done here"}.get(status, "this cannot be served")
    return await denied(request, Denied(status, "not-served", text))


class Defects:
    """ASGI middleware: a defect of ours is told in the server's log with its traceback, and to the browser without."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            if scope["type"] != "http" or begun:
                raise  # half an answer is out: the connection must be cut
            log.exception("the page failed on a request")
            refusal = Denied(500, "failed", "the server failed on this; nothing was lost, try again")
            await (await denied(Request(scope), refusal))(scope, receive, send)
