"""A pool of workers that compute one function of many parts: order, time limits, and workers that die.

An engine says how a worker is started, given a part, waited for and ended; all else is the same for every engine.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from schemas.errors import CurateError

AHEAD = 2
"""Parts per worker that are computed before they are needed."""
POLL = 0.2
"""Seconds after which a call that waits for a result notices ``interrupt``."""
START = 120.0
"""Seconds within which a worker must have started: it may import torch and load a model."""
MAX_FAILED_STARTS = 3
"""Consecutive workers that may die before they have started."""


class Part(NamedTuple):
    """One part of a job."""

    name: str
    """Names the part in errors: a file, or what the part contains."""
    argument: Any


class PartError(CurateError):
    """A part that was not computed: its worker took too long (code "timeout") or died (code "crashed")."""

    def __init__(self, message: str, *, hint: str = "", code: str = "crashed") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class WorkerDied(Exception):
    """Raised by ``Engine._result``: the worker ended before it gave a result. The message says how."""


@dataclass
class Worker:
    """One worker and its current part."""

    handle: Any
    """Whatever the engine needs to reach it."""
    deadline: float
    """Value of time.monotonic() by which it must have started, or have a result."""
    started: bool = False
    """Whether it has reported that it is ready."""
    place: int | None = None
    """Index of the part that it computes; None while it is idle."""


@dataclass
class _Round:
    """One call of map: its parts, and the results that are not yielded yet."""

    parts: Sequence[Part]
    timeout: float
    assigned: int = 0
    """Number of parts that were given to a worker for the first time."""
    again: list[int] = field(default_factory=list)
    """Parts whose worker died, to be given to another one."""
    deaths: dict[int, int] = field(default_factory=dict)
    """Index of a part -> number of workers that died with it."""
    results: dict[int, Any] = field(default_factory=dict)


class Engine(ABC):
    """Workers that compute a function of many parts. Use an engine as a context manager.

    A worker that exceeds the time limit of a part, or dies, is replaced; the part is named by a PartError. One call of
    ``map`` runs at a time: a new one ends the previous one.

    Examples
    --------
    >>> with LocalEngine(workers=2) as engine:  # doctest: +SKIP
    ...     list(engine.map(len, [Part("a", [1, 2]), Part("b", [])], timeout=60))
    [2, 0]
    """

    tries = 1
    """Workers that may die with a part before the part is blamed."""

    def __init__(self, *, workers: int) -> None:
        """workers: at least 1. They are started by the first call of ``map``, at most one for each of its parts."""
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected 1 or more")
        self.size = workers
        self._workers: list[Worker] = []
        self._function = b""
        self._round = _Round([], 0)
        self._failed_starts = 0  # consecutive

    def map(self, function: Callable[[Any], Any], parts: Iterable[Part], *, timeout: float) -> Iterator[Any]:
        """Yield the function's result for each part in order, or the exception that it raised.

        function: picklable; each worker unpickles it once, and works in the current folder. timeout: seconds for one
        part, counted from its start. Where its worker dies or takes too long, the result is a PartError. Raises
        RuntimeError if the engine is closed, interrupted or used for another call meanwhile.
        """
        mine = self._round = _Round(list(parts), timeout)
        pickled = pickle.dumps((str(Path.cwd()), pickle.dumps(function)))
        old, self._function = self._function, pickled
        self._failed_starts = 0
        for worker in list(self._workers):
            if worker.place is not None or not worker.started:
                self._replace(worker)  # busy with a part of an earlier, unfinished call
            elif pickled != old:
                self._load(worker)
        while len(self._workers) < min(self.size, len(mine.parts)):
            self._workers.append(self._new())
        for place in range(len(mine.parts)):
            while place not in mine.results:
                if mine is not self._round or not self._workers:
                    raise RuntimeError("this engine was closed or used for another call meanwhile")
                self._assign(mine, place)
                self._wait(mine)
            self._assign(mine, place + 1)  # they work while the caller handles this result
            yield mine.results.pop(place)

    def interrupt(self) -> None:
        """End the current call, which may run in another thread: it raises RuntimeError."""
        self._round = _Round([], 0)

    def close(self) -> None:
        """End all workers."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What an engine must say.

    @abstractmethod
    def _start(self, function: bytes) -> Any:
        """Start a worker for a function that ``load`` reads; return its handle.

        Its first result says that it is ready.
        """

    @abstractmethod
    def _give(self, handle: Any, argument: Any) -> None:
        """Give an idle worker the argument of a part. Raises WorkerDied."""

    @abstractmethod
    def _ready(self, handles: list[Any], timeout: float) -> list[Any]:
        """Those of the handles that have a result or have died, after at most ``timeout`` seconds."""

    @abstractmethod
    def _result(self, handle: Any) -> Any:
        """The result of a ready worker. Raises WorkerDied."""

    @abstractmethod
    def _end(self, handle: Any) -> None:
        """End a worker, whatever it is doing."""

    def _start_hint(self) -> str:
        return "see the errors above"

    def _load(self, worker: Worker) -> None:
        """Give an idle worker another function: by default, replace the worker."""
        self._replace(worker)

    # The same for every engine.

    def _assign(self, mine: _Round, place: int) -> None:
        """Give parts to idle workers, at most AHEAD per worker beyond ``place``."""
        last = min(len(mine.parts), place + AHEAD * len(self._workers))
        for worker in list(self._workers):
            if not worker.started or worker.place is not None or not (mine.again or mine.assigned < last):
                continue
            number = mine.again[0] if mine.again else mine.assigned
            try:
                self._give(worker.handle, mine.parts[number].argument)
            except WorkerDied:  # while it was idle: no part is to blame
                self._replace(worker)
                continue
            worker.place, worker.deadline = number, time.monotonic() + mine.timeout
            if mine.again:
                mine.again.pop(0)
            else:
                mine.assigned += 1

    def _wait(self, mine: _Round) -> None:
        """Wait until a worker has a result, dies or exceeds its time, and handle each that did."""
        busy = [worker for worker in self._workers if worker.place is not None or not worker.started]
        soonest = min((worker.deadline for worker in busy), default=0.0) - time.monotonic()
        ready = self._ready([worker.handle for worker in busy], min(max(0.0, soonest), POLL))
        for worker in busy:
            if worker.handle in ready:
                self._receive(mine, worker)
            elif worker.deadline <= time.monotonic():
                limit = START if worker.place is None else mine.timeout
                self._fail(mine, worker, f"took more than {limit:g} seconds", "timeout")

    def _receive(self, mine: _Round, worker: Worker) -> None:
        try:
            result = self._result(worker.handle)
        except WorkerDied as death:
            self._fail(mine, worker, f"its process died ({death})", "crashed")
            return
        if worker.place is None:
            self._failed_starts = 0
        else:
            mine.results[worker.place] = result
        worker.started, worker.place = True, None

    def _fail(self, mine: _Round, worker: Worker, reason: str, code: str) -> None:
        """Replace a worker; the part that it was computing is tried again or becomes an error."""
        place = worker.place
        if place is None:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS and not any(worker.started for worker in self._workers):
                self._stop()
                raise CurateError(f"the workers do not start: {reason}", hint=self._start_hint())
        else:
            mine.deaths[place] = mine.deaths.get(place, 0) + 1
            if code == "crashed" and mine.deaths[place] < self.tries:
                mine.again.append(place)
            else:
                name = mine.parts[place].name
                mine.results[place] = PartError(f"{name}: {reason}", code=code)
        self._replace(worker)

    def _stop(self) -> None:
        for worker in self._workers:
            self._end(worker.handle)
        self._workers = []

    def _new(self) -> Worker:
        return Worker(self._start(self._function), time.monotonic() + START)

    def _replace(self, worker: Worker) -> None:
        self._end(worker.handle)
        self._workers[self._workers.index(worker)] = self._new()


def map_parts(
    function: Callable[[Any], Any], parts: Iterable[Part], *, engine: Engine | None, timeout: float = math.inf
) -> Iterator[Any]:
    """Yield the function's result for each part in order: as ``Engine.map``, or computed in this process if None.

    Raises the first exception, whether the function's or a PartError.

    Examples
    --------
    >>> list(map_parts(len, [Part("a", [1, 2]), Part("b", [])], engine=None))
    [2, 0]
    """
    if engine is None:
        yield from (function(part.argument) for part in parts)
        return
    for result in engine.map(function, parts, timeout=timeout):
        if isinstance(result, Exception):
            raise result
        yield result


def load(pickled: bytes) -> Callable[[Any], Any]:
    """The function that a worker computes. Enters the folder of the caller first, because paths may start there."""
    folder, function = pickle.loads(pickled)
    with suppress(OSError):  # another machine
        os.chdir(folder)
    loaded: Callable[[Any], Any] = pickle.loads(function)
    return loaded


def call(function: Callable[[Any], Any], argument: Any) -> Any:
    """The function's result, or the exception that it raised: what a worker computes."""
    try:
        return function(argument)
    except Exception as error:
        return error
