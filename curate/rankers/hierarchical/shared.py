"""Fits that several steps of one job need: each is computed once while ``shared_fits`` is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from curate.votes.arrays import VoteArrays

F = TypeVar("F")

KEPT = 3
"""Fits that are kept: of all votes, of those without excluded annotators, of model means."""

_known: ContextVar[list[tuple[object, VoteArrays, Any]] | None] = ContextVar("known_fits", default=None)


@contextmanager
def shared_fits() -> Iterator[None]:
    """Within this context a fit of equal votes by an equal ranker is returned again; a fit must not be changed."""
    token = _known.set([])
    try:
        yield
    finally:
        _known.reset(token)


def shared(ranker: object, votes: VoteArrays, fit: Callable[[VoteArrays], F]) -> F:
    """Return the fit of these votes by this ranker, computed by ``fit`` if it is not known."""
    known = _known.get()
    if known is None:
        return fit(votes)
    for who, of, found in known:
        if who == ranker and _equal(of, votes):
            return found  # type: ignore[no-any-return]
    known.append((ranker, votes, fit(votes)))
    del known[:-KEPT]
    return known[-1][2]  # type: ignore[no-any-return]


def _equal(one: VoteArrays, other: VoteArrays) -> bool:
    return one is other or all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(VoteArrays))


def _same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)  # type: ignore[arg-type]
    return one == other
