"""N-way items of a mixture: identical answers merged, pairs of one prompt merged where they give one order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

MAX_MERGED = 64
"""Responses to one prompt that are merged into one item, at most."""


@dataclass(frozen=True, slots=True)
class Item:
    """One prompt with N responses and their ranks."""

    prompt: str
    responses: tuple[str, ...]
    ranks: tuple[int, ...]
    """(N,) 1 is best, equal responses share a rank."""
    models: tuple[str | None, ...] = ()
    """(N,) or empty; None where unknown."""
    image: Path | None = None
    video: Path | None = None
    """A file, or a folder of frames."""
    turns: tuple[str, ...] = ()
    """What the user said in each turn of a longer conversation; empty if the prompt is one turn."""
    medium_name: str = ""
    """Path of its image or video in the media folder of the source."""
    source: str = ""
    row: str = ""
    """File and row."""

    @property
    def medium(self) -> Path | None:
        return self.image or self.video

    @property
    def item_id(self) -> str:
        """24 hex digits, which change with the source, prompt, medium, responses or ranks, but not with their order."""
        content = [self.source, self.prompt, self.medium_name, sorted(zip(self.responses, self.ranks, strict=True))]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24]

    @property
    def decisive(self) -> bool:
        """Whether some response is better than another."""
        return len(set(self.ranks)) > 1

    def draw(self, seed: int, purpose: str) -> float:
        """A number in [0, 1) that depends on the seed, the purpose and the item alone."""
        digest = hashlib.sha256(f"{seed}\0{purpose}\0{self.item_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64


def ranked(values: Sequence[float]) -> tuple[int, ...]:
    """Return the rank of each value, the smallest first; equal values share one.

    >>> ranked([2.5, 1, 2.5, 4])
    (2, 1, 2, 4)
    """
    return tuple(1 + sum(other < value for other in values) for value in values)


def with_distinct_answers(item: Item) -> Item:
    """Return the item with identical answers (but for surrounding spaces) merged.

    Copies of an answer at different ranks contradict each other: the answer gets their mean, and ranks are counted
    again, so that an answer between two copies ties with them.

    >>> with_distinct_answers(Item("?", ("a", "b", "a ", "c"), (1, 2, 3, 4))).ranks
    (1, 1, 3)
    """
    places: dict[str, list[int]] = {}
    for place, response in enumerate(item.responses):
        places.setdefault(response.strip(), []).append(place)
    if len(places) == len(item.responses):
        return item
    first = [own[0] for own in places.values()]
    return replace(
        item,
        responses=tuple(item.responses[place] for place in first),
        ranks=ranked([sum(item.ranks[place] for place in own) / len(own) for own in places.values()]),
        models=tuple(item.models[place] for place in first) if item.models else (),
    )


def merged(items: Sequence[Item]) -> tuple[list[Item], int]:
    """Return items of one prompt merged into one if they give one order, else the different ones; and how many stay.

    One order: a strict weak order, in which responses that no pair distinguishes are equally far from all others and
    share a rank. A cycle, or two unconnected pairs, give none.
    """
    if len(items) < 2:
        return list(items), 0
    texts: dict[str, tuple[str, str | None]] = {}
    for item in items:
        for response, model in zip(item.responses, item.models or (None,) * len(item.responses), strict=True):
            known = texts.setdefault(response.strip(), (response, model))
            texts[response.strip()] = (known[0], known[1] or model)
    place = {text: number for number, text in enumerate(texts)}
    ranks = order_of(
        len(texts),
        [
            (place[item.responses[i].strip()], place[item.responses[j].strip()], item.ranks[i] == item.ranks[j])
            for item in items
            for i in range(len(item.responses))
            for j in range(len(item.responses))
            if i != j and item.ranks[i] <= item.ranks[j]
        ],
    )
    if ranks is None:
        different = list({item.item_id: item for item in items}.values())
        return different, len(different)
    responses, models = zip(*texts.values(), strict=True)
    return [replace(items[0], responses=responses, ranks=ranks, models=models if any(models) else ())], 0


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
        if tied:
            equal[better, worse] = equal[worse, better] = True
        else:
            above[better, worse] = True
    equal = _closure(equal)
    above = _closure(equal @ above @ equal)
    ranks = 1 + above.sum(axis=0)
    if (above != (ranks[:, None] < ranks)).any() or (equal & (ranks[:, None] != ranks)).any():
        return None
    return tuple(ranks.tolist())


def _closure(
    relation: np.ndarray[tuple[int, int], np.dtype[np.bool_]],
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """The smallest transitive relation that contains this one."""
    while True:
        wider = relation | (relation @ relation)
        if (wider == relation).all():
            return relation
        relation = wider


def in_neutral_order(item: Item) -> Item:
    """Return the item with its responses ordered by digests, since many files list the preferred one first."""
    order = sorted(
        range(len(item.responses)),
        key=lambda i: hashlib.sha256(f"{item.prompt}\0{item.responses[i]}".encode()).digest(),
    )
    return replace(
        item,
        responses=tuple(item.responses[i] for i in order),
        ranks=ranked([item.ranks[i] for i in order]),
        models=tuple(item.models[i] for i in order) if item.models else (),
    )
