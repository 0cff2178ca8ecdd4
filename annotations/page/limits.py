"""How much one visitor may ask: the size and the slowness of a body, and requests a second."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from annotations.page.answers import Denied


@dataclass(frozen=True)
class Limits:
    """What the page allows."""

    body_bytes: int = 16_384
    """Of a request: a vote with the longest reason in the widest letters fits."""
    body_seconds: float = 20.0
    """Within which it must have come."""
    session_rate: float = 15.0
    """Requests a second of one link, in the long run; a video that is sought in makes many."""
    session_burst: int = 90
    """So many at once before the rate holds."""
    stranger_rate: float = 2.0
    """Requests a second of one address without a valid link."""
    stranger_burst: int = 60
    remembered: int = 20_000
    """Visitors whose rates are kept, at most; the ones seen longest ago are forgotten."""


STANDARD = Limits()


class Buckets:
    """A token bucket for each key: ``burst`` requests at once, ``rate`` a second in the long run."""

    def __init__(
        self, rate: float, burst: int, *, remembered: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self.remembered, self.clock = rate, burst, remembered, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Key → requests left, and when that was so. The key seen longest ago comes first."""

    def take(self, key: str) -> None:
        """Count one request. Raises Denied (429) where none is left."""
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
    """The body. Raises Denied where it is too large (413) or too slow (408)."""
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise Denied(413, "too-large", f"too much was sent: at most {limits.body_bytes:,} bytes")
    except TimeoutError as error:
        raise Denied(408, "too-slow", f"what was sent did not come within {limits.body_seconds:g} s") from error
    return bytes(body)
