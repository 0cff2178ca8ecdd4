"""N-way items of a mixture: identical answers merged, pairs of one prompt merged where they give one order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np

from curate.array_types import Bool
from curate.reward.data import Example

MAX_MERGED = 64
"""Responses to one prompt that are merged into one item, at most."""


def medium(item: Example) -> Path | None:
    """The image or video of an item (a file, or a folder of frames); None if it has none."""
    return item.video or (item.images[0] if item.images else None)


def draw(item: Example, seed: int, purpose: str) -> float:
    """Return a number in [0, 1) that depends on the seed, the purpose and the item's id alone."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{item.item_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def ranked(values: Sequence[float]) -> tuple[int, ...]:
    """Return the rank of each value, the smallest first; equal values share one.

    >>> ranked([2.5, 1, 2.5, 4])
    (2, 1, 2, 4)
    """
    return tuple(1 + sum(other < value for other in values) for value in values)


def with_distinct_answers(item: Example) -> Example:
    """Return the item with identical answers (but for surrounding spaces) merged.

    Copies of an answer at different ranks contradict each other: the answer gets their mean, and ranks are counted
    again, so that an answer between two copies ties with them.

    >>> with_distinct_answers(Example("", "?", ("a", "b", "a ", "c"), (1, 2, 3, 4))).ranks
    (1, 1, 3)
    """
    ranks: dict[str, list[int]] = {}
    for response, rank in zip(item.responses, item.ranks, strict=True):
        ranks.setdefault(response.strip(), []).append(rank)
    return replace(item, responses=tuple(ranks), ranks=ranked([sum(own) / len(own) for own in ranks.values()]))


def merged(items: Sequence[Example]) -> list[Example]:
    """Return items of one prompt as one item if they give one order, else the different ones.

    items: with distinct answers. One order: a strict weak order, in which responses that no pair distinguishes compare
    alike with all others and share a rank. A cycle, or two unconnected pairs, give none.
    """
    if len(items) == 1:
        return [*items]
    place: dict[str, int] = {}
    for item in items:
        for response in item.responses:
            place.setdefault(response, len(place))
    pairs = [
        (place[one], place[other], rank == worse)
        for item in items
        for (one, rank), (other, worse) in permutations(zip(item.responses, item.ranks, strict=True), 2)
        if rank <= worse
    ]
    if (ranks := order_of(len(place), pairs)) is not None:
        return [replace(items[0], responses=tuple(place), ranks=ranks)]
    different: dict[frozenset[tuple[str, int]], Example] = {}
    for item in items:
        different.setdefault(frozenset(zip(item.responses, item.ranks, strict=True)), item)
    return [*different.values()]


def order_of(count: int, pairs: Iterable[tuple[int, int, bool]]) -> tuple[int, ...] | None:
    """Return the (count,) ranks that the pairs imply; None if they contradict each other or leave the order open.

    pairs: (better, worse, whether they are equal instead).

    >>> order_of(3, [(0, 1, False), (1, 2, False)]), order_of(3, [(0, 1, False), (0, 2, False)])
    ((1, 2, 3), (1, 2, 2))
    >>> order_of(4, [(0, 1, False), (2, 3, False)]) is order_of(2, [(0, 1, False), (1, 0, False)]) is None
    True
    """
    if count > MAX_MERGED:
        return None
    equal, above = np.eye(count, dtype=np.bool_), np.zeros((count, count), dtype=np.bool_)
    for better, worse, tied in pairs:
        (equal if tied else above)[better, worse] = True
        equal[worse, better] |= tied
    equal = _closure(equal)
    above = _closure(equal @ above @ equal)
    ranks = 1 + above.sum(axis=0)
    if (above != (ranks[:, None] < ranks)).any() or (equal & (ranks[:, None] != ranks)).any():
        return None
    return tuple(ranks.tolist())


def _closure(relation: Bool) -> Bool:
    """The smallest transitive relation that contains this one."""
    while ((wider := relation | (relation @ relation)) != relation).any():
        relation = wider
    return relation


def in_neutral_order(item: Example) -> Example:
    """Return the item with its responses ordered by digests, since many files list the preferred one first."""
    digests = [hashlib.sha256(f"{item.prompt}\0{response}".encode()).digest() for response in item.responses]
    return item.permuted(sorted(range(len(digests)), key=digests.__getitem__))
