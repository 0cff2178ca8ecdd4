"""Requests to ``curate serve``, repeated only while the server is busy or loading; every other failure is an error."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

from schemas.errors import CurateError

BUSY = (429, 503)
"""Answers after which the same request may succeed."""
PAUSE = 1.0
"""Seconds before a request is repeated."""


class ScoreError(CurateError):
    """The server did not score a request. Training must not go on without rewards."""


def post(url: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """The server's answer. url: with the route. timeout: seconds, repetitions included. Raises ScoreError."""
    deadline = time.monotonic() + timeout
    data = json.dumps(body, default=_plain).encode()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        try:
            with opener.open(request, timeout=max(0.1, deadline - time.monotonic())) as answer:
                return _answer(url, answer.status, answer.read())
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
            if status not in BUSY or time.monotonic() + PAUSE > deadline:
                return _answer(url, status, content)
        except OSError as error:
            if time.monotonic() + PAUSE > deadline or isinstance(error, TimeoutError):
                raise ScoreError(f"{url}: {error or type(error).__name__}", hint="is curate serve running?") from error
        time.sleep(PAUSE)


async def post_async(url: str, body: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """As ``post``. Any number of requests may wait at a time: the responses of a group wait for each other."""
    import aiohttp

    deadline = time.monotonic() + timeout
    data = json.dumps(body, default=_plain).encode()
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as session:
        while True:
            limit = aiohttp.ClientTimeout(total=max(0.1, deadline - time.monotonic()))
            try:
                async with session.post(url, data=data, timeout=limit) as answer:
                    status, content = answer.status, await answer.read()
                    if status not in BUSY or time.monotonic() + PAUSE > deadline:
                        return _answer(url, status, content)
            except (OSError, aiohttp.ClientError) as error:
                if time.monotonic() + PAUSE > deadline or isinstance(error, TimeoutError):
                    why = error or type(error).__name__
                    raise ScoreError(f"{url}: {why}", hint="is curate serve running?") from error
            await asyncio.sleep(PAUSE)


def _answer(url: str, status: int, content: bytes) -> dict[str, Any]:
    """The document of an answer. Raises ScoreError with the server's message and hint."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if status == 200 and isinstance(document, dict):
        return document
    answer = document if isinstance(document, dict) else {}
    raise ScoreError(f"{url}: {status}: {answer.get('error') or content[:200]!r}", hint=answer.get("hint", ""))


def _plain(value: Any) -> Any:
    """A numpy array as a list, a numpy number as a number."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
