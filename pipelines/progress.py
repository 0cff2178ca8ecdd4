"""The callback by which a job reports its progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called with the current step, the finished units and the total (0 = unknown)."""

    def __call__(self, doing: str, done: int, total: int) -> None: ...


def silent(doing: str, done: int, total: int) -> None:
    """Ignore the progress."""
