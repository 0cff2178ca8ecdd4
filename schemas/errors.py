"""The exceptions for users: what happened, where, and what to do next."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches

REMOVED_IN = "0.3"
"""The version that no longer accepts the names in ``Document.renamed``."""


class CurateError(Exception):
    """A handled failure. ``str(error)`` names the problem and its place; ``error.hint`` is the next step (or empty).

    The command line prints both and exits with 1. Any other exception is a bug and keeps its traceback.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # shown below the traceback in a notebook


class UsageError(CurateError):
    """An invalid command line or config: the command exits with 2."""


class NoVotesError(CurateError):
    """A store without votes to rank."""


class RejectWarning(UserWarning):
    """Some rows are no votes."""


class RenamedWarning(FutureWarning):
    """The use of a name that a later version no longer accepts. The command line prints it as a note."""


def warn_renamed(old: str, new: str) -> None:
    """Warn that ``old`` is a deprecated name of ``new``."""
    warnings.warn(
        f"{old!r} is now called {new!r}; {old!r} will be removed in {REMOVED_IN}", RenamedWarning, stacklevel=3
    )


def most_similar(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None if none is similar enough.

    >>> most_similar("rankr", ["ranker", "seed"])
    'ranker'
    """
    return next(iter(get_close_matches(word, known, n=1, cutoff=0.75)), None)
