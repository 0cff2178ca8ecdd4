"""Connections: those that send no request in time are closed, so that one client cannot keep others out.

A connection *waits* from its start, and after each response from the first byte of the next request, until the head of
the request is complete. Waiting connections have a time limit, and a limit in number, per address and in total: beyond
it the one that has waited longest is closed. A browser's request waits for milliseconds, so that it is never the one:
of one address, only those that have waited for a second are closed, because a whole class may start at the same moment.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""Time within which the head of a request must arrive."""
HEAD_BYTES = 65_536
"""Size at which the head of a request that is still incomplete is refused."""
WAITING_PER_ADDRESS = 64
"""Connections of one address that may wait longer than ``BRIEF``, unless it is a proxy's."""
BRIEF = 1.0
"""Time for which any number of connections of an address may wait, seconds."""
MOST, SPARE = 2_000, 256
"""Connections at once, and the files beside them that the process may need to open."""
BACKLOG = 128
"""Connections that are accepted at a time."""
MESSAGES, PERIOD = 20, 60.0
"""Log messages of the server's libraries within a period, seconds; more are counted and omitted."""


def allow_connections() -> int:
    """Raise the limit of open files where that is allowed; return the number of connections that fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + BACKLOG + SPARE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return MOST if soft == resource.RLIM_INFINITY else max(BACKLOG, min(MOST, soft - BACKLOG - SPARE))


class Connections:
    """The waiting connections of a server."""

    def __init__(self, most: int, per_address: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self.per_address, self._clock = most, per_address, clock
        """Connections at once, waiting or not, and of one address that wait."""
        self._waiting: dict[Protocol, str] = {}
        """Connection -> address of the client, the one that has waited longest first."""
        self._since: dict[str, dict[Protocol, float]] = {}
        """Address -> its waiting connections and the time since which they wait, in the same order."""

    def wait(self, one: Protocol, address: str, connected: int) -> None:
        """Count a connection that waits; close those that have waited longest where these are too many."""
        now = self._clock()
        self._waiting[one] = address
        same = self._since.setdefault(address, {})
        same[one] = now
        while len(same) > self.per_address and now - same[first := next(iter(same))] > BRIEF:
            self._close(first)
        if connected > self.most:
            self._close(next(iter(self._waiting)))

    def end(self, one: Protocol) -> None:
        """The connection waits no longer."""
        address = self._waiting.pop(one, None)
        if address is not None:
            same = self._since[address]
            del same[one]
            if not same:
                del self._since[address]

    def _close(self, one: Protocol) -> None:
        self.end(one)
        one.transport.abort()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol for one connection, which is closed where it waits too long."""

    waiting: Connections
    """Of the server: set by ``protocol``."""
    _clock: asyncio.TimerHandle | None = None
    _head: int | None = 0
    """Bytes of the head of a request so far; None within its body."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("the request's headers are too long")
        self._watch()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head = None

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def _watch(self) -> None:
        """Start or stop the clock of the connection."""
        answering = self.cycle is not None and not self.cycle.response_complete
        idle = self.timeout_keep_alive_task is not None  # after a response, with a limit of its own
        if answering or idle or self.transport.is_closing():
            self._stop()
        elif self._clock is None:
            self._clock = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
            self.waiting.wait(self, self.client[0] if self.client else "", len(self.connections))

    def _stop(self) -> None:
        self.waiting.end(self)
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def protocol(most: int, *, per_address: int) -> type[Protocol]:
    """The protocol of one server with at most so many connections, and waiting connections of an address."""
    return type("ServerProtocol", (Protocol,), {"waiting": Connections(most, per_address)})


class Quiet(logging.Filter):
    """Lets MESSAGES messages through in each PERIOD, and says how many it has omitted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._start, self._count = clock, -PERIOD, 0

    def filter(self, record: Any) -> bool:
        now = self._clock()
        if now - self._start >= PERIOD:
            omitted, self._start, self._count = max(0, self._count - MESSAGES), now, 0
            if omitted:
                record.msg = f"{record.getMessage()} ({omitted:,} messages before it were omitted)"
                record.args = ()
        self._count += 1
        return self._count <= MESSAGES
