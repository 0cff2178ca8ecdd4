"""Which of several answers of one judgment says who won."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.votes import BOTH_BAD_WORDS, TIE_WORDS, VOTE_FIELDS

NAMES = next(rule.aliases for rule in VOTE_FIELDS if rule.name == "outcome")
UNDECIDED = frozenset({*TIE_WORDS, *BOTH_BAD_WORDS})


def outcome_of(names: Iterable[str]) -> str | None:
    """The question that says who won: the only one there is, else the first of a well-known name; None for neither."""
    asked = list(dict.fromkeys(names))
    if len(asked) == 1:
        return asked[0]
    by_name = {name.lower(): name for name in reversed(asked)}
    return next((by_name[known] for known in NAMES if known in by_name), None)


def is_undecided(answer: Any) -> bool:
    """Whether an answer is a word for a tie or for both bad."""
    return isinstance(answer, str) and answer.strip().lower() in UNDECIDED


def beside(row: dict[str, Any], data: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A row with what the platform was given for its task; where both use a name, the given one takes a prefix."""
    return row | {(f"{prefix}{name}" if name in row else name): value for name, value in data.items()}
