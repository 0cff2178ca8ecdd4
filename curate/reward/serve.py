"""The scorer over HTTP: its routes, how they fail, how it starts and how it stops.

    GET  /health         status, model, layout, queue depth; 503 while the model is being loaded
    POST /score          {prompt, responses, video?, images?} → {scores}; {items: [...]} → {items: [{scores}, ...]}
    POST /get_reward     OpenRLHF: {query, prompts, labels} → {rewards, scores, extra_logs}
    POST /compute_score  verl: {data_source, solution_str, ground_truth, extra_info: {prompt, ...}} → {score}

A layout that compares responses (``causal``, ``set``) scores a response beside the others of its pass: /score passes
exactly what it was sent; the other two pass all distinct responses to a prompt that arrive within the window, and
/get_reward says how many they were (group_size). What else is in the batch changes no score beyond rounding.
There is no authentication: who can reach the port can ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from curate.reward.batching import Batcher, Full, Scorer
from curate.reward.requests import Asked, Refusal, ServeConfig, reward_form, score_form, verl_form
from schemas.errors import CurateError

log = logging.getLogger(__name__)

FORMS = {"/score": score_form, "/get_reward": reward_form, "/compute_score": verl_form}


@dataclass(frozen=True)
class Served:
    """A scorer that is ready, and what /health says of it."""

    scorer: Scorer
    model: str
    layout: str
    close: Callable[[], object] = lambda: None
    """Called when nothing more will be scored."""


class Service:
    """One model behind the routes. ``load`` runs in a thread after the server has begun to listen."""

    def __init__(self, load: Callable[[], Served], config: ServeConfig | None = None) -> None:
        self.load = load
        self.config = config or ServeConfig()
        self.failure: Exception | None = None
        """Why there is no model, and never will be."""
        self.on_failure: Callable[[], None] = lambda: None
        self._served: Served | None = None
        self._batcher: Batcher | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        posts = [Route(path, functools.partial(self._post, form), methods=["POST"]) for path, form in FORMS.items()]
        return Starlette(
            routes=[Route("/health", self._health, methods=["GET"]), *posts],
            lifespan=self._lifespan,
            exception_handlers={CurateError: _refused, HTTPException: _http_error, Exception: _defect},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._start())
        yield
        loading.cancel()  # a load in progress ends by itself; its model is not used
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        if self._batcher is not None:
            await self._batcher.close()
        if self._served is not None:
            self._served.close()

    async def _start(self) -> None:
        try:
            served = await asyncio.to_thread(self.load)
        except Exception as error:  # told by /health, and raised by serve() when the server has stopped
            self.failure = error
            self.on_failure()
            return
        config = self.config
        batcher = Batcher(
            served.scorer,
            batch=config.batch,
            queue=config.queue,
            window=config.window_ms / 1000,
            max_responses=config.max_responses,
        )
        batcher.start()
        self._served, self._batcher = served, batcher

    async def _health(self, _request: Request) -> Response:
        if self._served is None or self._batcher is None:
            return JSONResponse({"status": "failed" if self.failure else "loading"}, 503)
        served = self._served
        depth = self._batcher.waiting
        return JSONResponse({"status": "ok", "model": served.model, "layout": served.layout, "queue_depth": depth})

    async def _post(self, form: Callable[[bytes, ServeConfig], Asked], request: Request) -> Response:
        batcher, config = self._batcher, self.config
        if batcher is None:
            raise Refusal(503, "the model is not loaded", hint="GET /health says when it is", retry_after=1)
        asked = form(await _body(request, config), config)
        wanted = sum(len(ask.responses) for ask in asked.asks)
        if wanted > config.queue:
            raise Refusal(413, f"{wanted} responses, at most {config.queue} may wait", hint="send several requests")
        try:
            async with asyncio.timeout(config.timeout):
                scored = await batcher.score(asked.asks)
        except Full as error:
            message = f"the queue is full: {batcher.waiting} responses wait"
            raise Refusal(429, message, hint="ask again later", retry_after=1) from error
        except TimeoutError as error:
            message = f"not scored within {config.timeout:g} seconds"
            raise Refusal(503, message, hint="ask again later", retry_after=math.ceil(config.timeout)) from error
        return JSONResponse(asked.answer(scored))


def serve(
    load: Callable[[], Served], config: ServeConfig, *, host: str, port: int, ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; what has been accepted is answered first. ``ready`` is told the address.

    Raises CurateError where the address cannot be had, and whatever ``load`` raises.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise CurateError(message, hint="choose another --host or --port") from error
    service = Service(load, config)
    server = uvicorn.Server(uvicorn.Config(service.app(), log_config=None, access_log=False))

    def stop() -> None:
        server.should_exit = True

    service.on_failure = stop
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{listener.getsockname()[1]}")
    with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn after it has stopped in order
        server.run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


async def _body(request: Request, config: ServeConfig) -> bytes:
    """The body, as long as it is neither too large nor too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(config.timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > config.max_bytes:
                    message = f"the body is too large, at most {config.max_bytes:,} bytes"
                    raise Refusal(413, message, hint="send several requests, and media by their paths")
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {config.timeout:g} seconds") from error
    return bytes(body)


def _answer(status: int, message: str, hint: str, retry_after: int | None = None) -> Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return JSONResponse({"error": message, "hint": hint}, status, headers=headers)


async def _refused(_request: Request, error: Exception) -> Response:
    """A Refusal with its status; another CurateError is the scorer's word on these very inputs."""
    if isinstance(error, Refusal):
        return _answer(error.status, str(error), error.hint, error.retry_after)
    return _answer(422, str(error), error.hint if isinstance(error, CurateError) else "")


async def _http_error(_request: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: no such route, wrong method, too large a body."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return _answer(status, detail, f"the routes are GET /health, POST {', POST '.join(FORMS)}")


async def _defect(_request: Request, _error: Exception) -> Response:
    """A defect of ours or of the scorer: its traceback is in the log, not in the answer."""
    return _answer(500, "the scorer failed on this request", "the server's log says why")
