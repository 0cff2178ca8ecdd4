"""The exceptions for users: what happened, where, and what to do next."""

from __future__ import annotations


class CurateError(Exception):
    """A handled failure. ``str(error)`` names the problem and its place; ``error.hint`` is the next step (or empty).

    The command line prints both and exits with 1. Any other exception is a bug and keeps its traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CurateError):
    """An invalid command line or config: the command exits with 2."""
