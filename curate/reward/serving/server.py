"""The HTTP server: routes, errors, start and stop.

    GET  /health         status, model, layout, queue depth; 503 while the model is loading
    POST /score          {prompt, responses, video?, images?} → {scores}; {items: [...]} → {items: [{scores}, ...]}
    POST /get_reward     OpenRLHF: {query, prompts, labels, group_id?, group_size?} → {rewards, scores, extra_logs}
    POST /compute_score  verl: {solution_str, extra_info: {prompt, ...}, group_id?, group_size?} → {score}

In a layout that compares responses (``causal``, ``set``) a score depends on the other responses of the pass. A pass of
/score has exactly the responses of the request. A pass of the other routes has all distinct responses of a complete
group in these layouts, so that the time of arrival changes no score, and in the others those to a prompt that arrive
within the window; /get_reward reports their number (group_size). The rest of the batch changes no score beyond
rounding. There is no authentication: everyone who can reach the port can use the server.
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

from curate.clients.prompts import ChatTemplate, PlainPrompt
from curate.reward.serving.batching import Batcher, QueueFullError, Scorer
from curate.reward.serving.protocols import PROTOCOLS, Parsed, RequestError, Rules, ServeConfig
from schemas.errors import ConflictError, CurateError

log = logging.getLogger(__name__)
COMPARING = ("causal", "set")
"""Layouts in which a score depends on the other responses."""


@dataclass(frozen=True)
class LoadedModel:
    """A scorer that is ready, and what /health reports about it."""

    scorer: Scorer
    model: str
    layout: str
    plain_prompt: Callable[[str], PlainPrompt] = ChatTemplate().plain
    """The question of a prompt as trainers send it; ``curate.reward.sequence.Encoder.plain_prompt``."""
    close: Callable[[], object] = lambda: None
    """Called after the last score."""


class Service:
    """One model behind the routes. ``load`` runs in a thread after the server has started to listen."""

    def __init__(self, load: Callable[[], LoadedModel], config: ServeConfig | None = None) -> None:
        self.load = load
        self.config = config or ServeConfig()
        self.failure: Exception | None = None
        """The error of loading the model."""
        self.on_failure: Callable[[], None] = lambda: None
        self._warned = False
        self._loaded: LoadedModel | None = None
        self._batcher: Batcher | None = None

    def app(self) -> Starlette:
        """The ASGI application."""
        posts = [
            Route(path, functools.partial(self._post, parse), methods=["POST"]) for path, parse in PROTOCOLS.items()
        ]
        return Starlette(
            routes=[Route("/health", self._health, methods=["GET"]), *posts],
            lifespan=self._lifespan,
            exception_handlers={CurateError: _on_curate_error, HTTPException: _on_http_error, Exception: _on_bug},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._start())
        yield
        loading.cancel()  # a load in progress finishes; its model is not used
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        if self._batcher is not None:
            await self._batcher.close()
        if self._loaded is not None:
            self._loaded.close()

    async def _start(self) -> None:
        try:
            loaded = await asyncio.to_thread(self.load)
        except Exception as error:  # reported by /health, and raised by serve() after the server has stopped
            self.failure = error
            self.on_failure()
            return
        config = self.config
        batcher = Batcher(
            loaded.scorer,
            batch=config.batch,
            queue=config.queue,
            window=config.window_ms / 1000,
            max_responses=config.max_responses,
            patience=config.timeout,
        )
        batcher.start()
        self._loaded, self._batcher = loaded, batcher

    async def _health(self, _request: Request) -> Response:
        if self._loaded is None or self._batcher is None:
            return JSONResponse({"status": "failed" if self.failure else "loading"}, 503)
        depth = self._batcher.waiting
        return JSONResponse(
            {"status": "ok", "model": self._loaded.model, "layout": self._loaded.layout, "queue_depth": depth}
        )

    async def _post(self, parse: Callable[[bytes, Rules], Parsed], request: Request) -> Response:
        batcher, config, loaded = self._batcher, self.config, self._loaded
        if batcher is None or loaded is None:
            raise RequestError(503, "the model is not loaded", hint="wait until GET /health returns 200", retry_after=1)
        rules = Rules(config, compares=loaded.layout in COMPARING, plain_prompt=loaded.plain_prompt)
        parsed = parse(await _read_body(request, config), rules)
        if not self._warned and any(part.is_blind for part in parsed.requests):
            self._warned = True
            log.warning("prompts that refer to images or videos are scored without them (--allow-blind)")
        responses = sum(len(part.responses) for part in parsed.requests)
        if responses > config.queue:
            message = f"{responses} responses, at most {config.queue} may wait"
            raise RequestError(413, message, hint="send several requests")
        waits_twice = any(part.group_size for part in parsed.requests)  # for its group, then for its scores
        limit = config.timeout * (2 if waits_twice else 1)
        try:
            async with asyncio.timeout(limit):
                results = await batcher.score(parsed.requests)
        except QueueFullError as error:
            message = f"the queue is full: {batcher.waiting} responses wait"
            raise RequestError(429, message, hint="retry later", retry_after=1) from error
        except TimeoutError as error:
            message = f"not scored within {limit:g} seconds"
            raise RequestError(503, message, hint="retry later", retry_after=math.ceil(config.timeout)) from error
        return JSONResponse(parsed.answer(results))


def serve(
    load: Callable[[], LoadedModel],
    config: ServeConfig,
    *,
    host: str,
    port: int,
    on_listening: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM; accepted requests are answered before it stops.

    on_listening: called with the address. Raises CurateError where the address is not available, and any error of
    ``load``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise ConflictError(message, hint="choose another --host or --port") from error
    service = Service(load, config)
    server = uvicorn.Server(uvicorn.Config(service.app(), http="h11", log_config=None, access_log=False))

    def stop() -> None:
        server.should_exit = True

    service.on_failure = stop
    shown_host = f"[{host}]" if ":" in host else host
    on_listening(f"http://{shown_host}:{listener.getsockname()[1]}")
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again after its shutdown
        server.run(sockets=[listener])
    if service.failure is not None:
        raise service.failure


async def _read_body(request: Request, config: ServeConfig) -> bytes:
    """The body. Raises RequestError where it is too large or too slow."""
    body = bytearray()
    try:
        async with asyncio.timeout(config.timeout):
            async for chunk in request.stream():
                body += chunk
                if len(body) > config.max_bytes:
                    message = f"the body is too large, at most {config.max_bytes:,} bytes"
                    raise RequestError(413, message, hint="send several requests, and media by their paths")
    except TimeoutError as error:
        raise RequestError(408, f"the body did not arrive within {config.timeout:g} seconds") from error
    return bytes(body)


def _error(status: int, message: str, hint: str, retry_after: int | None = None) -> Response:
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
    return JSONResponse({"error": message, "hint": hint}, status, headers=headers)


async def _on_curate_error(_request: Request, error: Exception) -> Response:
    """A RequestError with its status; any other CurateError is the scorer's error about these inputs: 422."""
    if isinstance(error, RequestError):
        return _error(error.status, str(error), error.hint, error.retry_after)
    return _error(422, str(error), error.hint if isinstance(error, CurateError) else "")


async def _on_http_error(_request: Request, error: Exception) -> Response:
    """Errors that Starlette raises: unknown route, wrong method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else ""
    return _error(status, detail, f"the routes are GET /health, POST {', POST '.join(PROTOCOLS)}")


async def _on_bug(_request: Request, _exception: Exception) -> Response:
    """An unexpected error: its traceback goes to the log, not into the answer."""
    return _error(500, "the scorer failed on this request", "see the server's log")
