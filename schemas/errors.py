"""The exceptions for users: what happened, where, and what to do next."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from difflib import get_close_matches

REMOVED_IN = "0.3"
"""The version that no longer accepts the names in ``Document.renamed``."""


NOTHING_NEW, CHECK_FAILED, INTERRUPTED = 3, 7, 130
EXIT_CODES = {
    0: "done",
    1: "a bug: please report the traceback",
    2: "wrong usage: an unknown command or option, or an invalid value",
    NOTHING_NEW: "a refresh without a new release",
    4: "bad input: a file, a setting or a store holds what cannot be used",
    5: "something is missing: a file, a store, a run, a prompt, a package",
    6: "a conflict: another process has it open, or the output exists already",
    CHECK_FAILED: "a check failed: what it found is printed",
    8: "the system refused: no memory, no room on the disk, no permission",
    INTERRUPTED: "interrupted: Ctrl-C",
}
"""Exit code of the command line -> what happened."""


class CurateError(Exception):
    """A handled failure. ``str(error)`` names the problem and its place; ``error.hint`` is the next step (or empty).

    The command line prints both and exits with ``exit_code``. Any other exception is a bug and keeps its traceback.
    """

    exit_code: int = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(f"hint: {hint}")  # shown below the traceback in a notebook


class UsageError(CurateError):
    """An invalid command line or config."""

    exit_code = 2


class MissingError(CurateError):
    """A file, store, run, prompt or package that is not there."""

    exit_code = 5


class ConflictError(CurateError):
    """Something that another process has open, or that exists already."""

    exit_code = 6


class CheckError(CurateError):
    """Findings that stop a job."""

    exit_code = CHECK_FAILED


class ResourceError(CurateError):
    """Too little memory or disk, or no permission."""

    exit_code = 8


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
