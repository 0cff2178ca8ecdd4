"""The one exception a user is meant to read: what happened, where, and what to do next."""

from __future__ import annotations


class CurateError(Exception):
    """A handled failure. ``str(error)`` says what and where; ``error.hint`` says what next (may be empty).

    The command line prints both and exits with 1. Any other exception is a defect of ours and keeps its traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CurateError):
    """A command line or config that cannot be meant: the command exits with 2."""
