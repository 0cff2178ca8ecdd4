"""The callback by which a job reports its progress, and the times of its steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Progress(Protocol):
    """Called with the current step, the finished units and the total (0 = unknown)."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...


def silent(doing: str, done: int, total: int) -> None:
    """Ignore the progress."""


class Steps:
    """A progress callback that measures the steps of a job. Where OpenTelemetry is in use, each step is a span.

    A step ends when another begins or by ``end``. What follows a comma in its name may change during it.

    Examples
    --------
    >>> steps = Steps()
    >>> steps("fold 1", 0, 2), steps("fold 2", 1, 2), steps.end()
    (None, None, None)
    >>> list(steps.seconds)
    ['fold 1', 'fold 2']
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        """Finished step -> how long it took, in all its turns."""
        self.name, self.done, self.total = "", 0, 0
        """The current step, empty for none."""
        self._clock = clock
        self._began, self._had = 0.0, 0
        self._span: Any = None

    def __call__(self, doing: str, done: int, total: int) -> None:
        """Note the progress."""
        name = doing.partition(",")[0]
        if name != self.name:
            self.end()
            self.name, self._began, self._had = name, self._clock(), done
            self._span = found.start_span(name) if (found := tracer()) else None
        self.done, self.total = done, total

    def end(self) -> None:
        """End the current step."""
        if self.name:
            self.seconds[self.name] = self.seconds.get(self.name, 0.0) + self._clock() - self._began
            if self._span is not None:
                self._span.end()
        self.name = ""

    @property
    def rate(self) -> float | None:
        """Units per second of the current step; None before the first one is done."""
        elapsed = self._clock() - self._began
        return (self.done - self._had) / elapsed if self.done > self._had and elapsed > 0 else None

    @property
    def remaining(self) -> float | None:
        """Seconds until the current step ends at this rate; None where that is unknown."""
        rate = self.rate
        return (self.total - self.done) / rate if rate and self.total else None


def tracer() -> Any:
    """Return OpenTelemetry's tracer where something has set it up in this process; else None."""
    tracing = sys.modules.get("opentelemetry.trace")
    return tracing.get_tracer("curate") if tracing else None
