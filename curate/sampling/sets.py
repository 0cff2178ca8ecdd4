"""Sets of responses that may become items: one response per band of a ranking, or random groups; a balanced choice."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from curate.array_types import Bool, Index

MAX_IDLE_ROUNDS = 16
"""Rounds without a new group after which a prompt counts as having no more."""


class Groups(NamedTuple):
    """Random groups of positions."""

    groups: list[Index]
    equal: int
    """Further groups whose ranks are all equal."""


def band_sets(ranks: Index, size: int, limit: int, rng: np.random.Generator) -> Index:
    """Return (≤ limit, size) distinct sets of positions in random order, one position per band of the ranking.

    The ranking is divided into ``size`` bands of equal size. The first position of each set is strictly its best.

    ranks: (n,) 1 = best, n ≥ size.
    """
    order = np.lexsort((rng.random(len(ranks)), ranks))
    bands = np.array_split(order, size)
    picks = _combinations([len(band) for band in bands], limit, rng)
    sets = np.stack([band[pick] for band, pick in zip(bands, picks.T, strict=True)], axis=1)
    # Bands are ordered, so the first is the best, and strictly so if it beats the second.
    strict: Index = sets[ranks[sets[:, 0]] < ranks[sets[:, 1]]]
    return strict


def _combinations(sizes: list[int], limit: int, rng: np.random.Generator) -> Index:
    """Return (≤ limit, len(sizes)) distinct rows in random order, column k below sizes[k]; all rows if they are few."""
    total = math.prod(sizes)
    if total <= limit:
        return np.stack(np.unravel_index(rng.permutation(total), sizes), axis=1).astype(np.int64)
    picks = rng.integers(0, sizes, size=(limit, len(sizes)))
    _, first = np.unique(picks, axis=0, return_index=True)
    return picks[np.sort(first)]


def choose(
    sets: Index,
    difficulty: Index,
    model: Index,
    prompt: Index,
    items: int,
    rng: np.random.Generator,
    kept: Bool | None = None,
) -> Index:
    """Return (I,) the sets that become items, up to ``items`` of each prompt with those kept, in the order of prompts.

    In each of ``items`` rounds every prompt takes one set, prompts with the fewest sets first. It takes the first of
    those that add least to the sum of squares of four counts over the items taken so far: of each difficulty, of each
    model as labelled best, of each model, of each response.

    sets: (S, K) rows, the best first, sorted by prompt; difficulty: (S,); model, prompt: (R,) of each row; kept: (S,)
    whether a set is an item already.
    """
    taken = np.zeros(len(sets), dtype=np.bool_) if kept is None else kept.copy()
    starts = np.flatnonzero(np.diff(prompt[sets[:, 0]], prepend=-1))
    stops = np.append(starts[1:], len(sets))
    order = np.lexsort((rng.random(len(starts)), stops - starts))
    of_difficulty, of_response = np.zeros(difficulty.max() + 1, dtype=np.int64), np.zeros(len(model), dtype=np.int64)
    of_best, of_model = np.zeros(len(model), dtype=np.int64), np.zeros(len(model), dtype=np.int64)
    np.add.at(of_difficulty, difficulty[taken], 1)
    np.add.at(of_best, model[sets[taken, 0]], 1)
    np.add.at(of_model, model[sets[taken]], 1)
    np.add.at(of_response, sets[taken], 1)
    has = np.add.reduceat(taken.astype(np.int64), starts)
    chosen: list[tuple[int, int]] = []
    for turn in range(items):
        for p in order:
            mine = slice(starts[p], stops[p])
            if has[p] > turn or taken[mine].all():
                continue
            rows = sets[mine]
            models = model[rows]
            cost = of_difficulty[difficulty[mine]] + of_best[models[:, 0]]
            cost += of_model[models].sum(axis=1) + of_response[rows].sum(axis=1)
            pick = starts[p] + np.where(taken[mine], np.iinfo(np.int64).max, cost).argmin()
            taken[pick] = True
            chosen.append((p, pick))
            of_difficulty[difficulty[pick]] += 1
            of_best[model[sets[pick, 0]]] += 1
            np.add.at(of_model, model[sets[pick]], 1)  # a model may have two responses in a set
            of_response[sets[pick]] += 1
    return np.array([pick for _, pick in sorted(chosen, key=lambda taking: taking[0])], dtype=np.int64)


def random_groups(ranks: Index, size: int, items: int, rng: np.random.Generator) -> Groups:
    """Return up to ``items`` distinct groups of ``size`` positions; the last of a round may be smaller.

    Each round assigns every response to one group. ranks: (n,) 1 = best.
    """
    groups: list[Index] = []
    seen: set[frozenset[int]] = set()
    equal = idle = 0
    while len(groups) < items and idle < MAX_IDLE_ROUNDS:
        idle += 1
        order = rng.permutation(len(ranks))
        for start in range(0, len(order) - 1, size):  # a single remaining response is no group
            group = order[start : start + size]
            members = frozenset(group.tolist())
            if members in seen:
                continue
            seen.add(members)
            idle = 0
            if np.all(ranks[group] == ranks[group[0]]):
                equal += 1
            elif len(groups) < items:
                groups.append(group)
    return Groups(groups, equal)
