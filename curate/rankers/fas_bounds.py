"""Lower bounds on the feedback arc set: directed cycles packed into the net weights, all problems of a batch at once.

Every order breaks every directed cycle. If cycles c with amounts y_c use of no arc more than its weight, then every
order costs at least Σ y_c (weak duality of covering and packing). Every cycle has an arc that goes against the best
order known; so for each such arc, paths are sought that close it in the order's own direction. Where they use up all
such arcs, the bound meets the cost and the order is optimal.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint64]
Number = TypeVar("Number", np.uint64, np.float64)

LONGEST = 5
"""Arcs in the longest cycle that is packed."""


class Packing(NamedTuple):
    """Weighted cycles in K problems with n responses each; fewer than C cycles are filled up with amount 0."""

    bound: Float
    """(K,) Σ amount, a lower bound on the cost of every order."""
    members: Mask
    """(K, C) the places on each cycle, as bits; all 0 where n > 63."""
    amount: Float
    """(K, C) how much of each of its arcs the cycle uses."""


def pack(arranged: Float, *, tries: int = 3, longest: int = LONGEST) -> Packing:
    """The best of so many greedy packings (1 to 3) of each problem.

    arranged: (K, n, n) antisymmetric, rows and columns standing in a good order: what lies below the diagonal and is
    above 0 goes against it.
    """
    n = arranged.shape[1]
    cost = np.maximum(np.tril(arranged), 0).sum(axis=(1, 2))
    best = _pack(arranged, [*range(1, n)], longest)
    for spans in ([*range(n - 1, 0, -1)], [*range(n // 2, n), *range(1, n // 2)])[: tries - 1]:
        rows = np.flatnonzero(best.bound < cost)
        if not len(rows):
            break
        best = _better(best, _pack(arranged[rows], spans, longest), rows)
    return best


def _pack(arranged: Float, spans: list[int], longest: int) -> Packing:
    """Short cycles first; arcs against the order by the distance that they span, in the order of spans."""
    k = len(arranged)
    with_order = np.maximum(np.triu(arranged), 0)  # (K, n, n) what is left of arcs along the order
    back = np.maximum(np.tril(arranged), 0)  # (K, n, n) and of arcs against it
    found: list[tuple[Index, Mask, Float]] = []
    for arcs in range(2, longest):
        somewhere = (back > 0).any(axis=0)  # (n, n) an arc against the order is left in some problem
        for span in (s for s in spans if s >= arcs):
            for p in np.flatnonzero(np.diagonal(somewhere, -span)).tolist():
                found += _close(with_order, back[:, p + span, p], p, p + span, arcs)
    return _collect(found, k)


def _close(with_order: Float, back: Float, p: int, q: int, arcs: int) -> list[tuple[Index, Mask, Float]]:
    """Closes the arc q → p by widest paths p → q of so many arcs until it or they are used up; weights shrink in place.

    back: (K,) what is left of q → p.
    """
    found = []
    rows = np.flatnonzero(back > 0)
    while len(rows):
        width, path = _widest(with_order[rows, p : q + 1, p : q + 1], arcs)
        amount = np.minimum(width, back[rows])
        rows, path, amount = rows[amount > 0], path[amount > 0] + p, amount[amount > 0]
        back[rows] -= amount
        for a, b in zip(path.T[:-1], path.T[1:], strict=True):
            with_order[rows, a, b] -= amount
        found.append((rows, np.bitwise_or.reduce(bit_of(path), axis=1), amount))
        rows = rows[back[rows] > 0]
    return found


def _widest(window: Float, arcs: int) -> tuple[Float, Index]:
    """(r,) the widest path of so many arcs from the first to the last place, and (r, arcs + 1) the places on it.

    window: (r, m, m) weights above the diagonal, so that every path moves on and none meets itself.
    """
    r = np.arange(len(window))
    width = window[:, 0, :]  # (r, m) widest path so far to each place
    trail = []
    for _ in range(arcs - 2):
        through = np.minimum(width[:, :, None], window)
        trail.append(through.argmax(axis=1))
        width = through.max(axis=1)
    last = np.minimum(width, window[:, :, -1])
    place = last.argmax(axis=1)
    widest = last[r, place]
    path = [np.full(len(window), window.shape[1] - 1), place]
    for came_from in reversed(trail):
        path.append(came_from[r, path[-1]])
    path.append(np.zeros(len(window), dtype=np.int64))
    return widest, np.stack(path[::-1], axis=1)


def _collect(found: list[tuple[Index, Mask, Float]], k: int) -> Packing:
    """The found (rows, members, amounts) side by side, one row a problem."""
    rows = np.concatenate([f[0] for f in found] or [np.zeros(0, dtype=np.int64)])
    order = np.argsort(rows, kind="stable")
    count = np.bincount(rows, minlength=k)
    column = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    members = np.zeros((k, max(count.max(initial=0), 1)), dtype=np.uint64)
    amount = np.zeros(members.shape)
    if found:
        members[rows[order], column] = np.concatenate([f[1] for f in found])[order]
        amount[rows[order], column] = np.concatenate([f[2] for f in found])[order]
    return Packing(amount.sum(axis=1), members, amount)


def _better(old: Packing, new: Packing, rows: Index) -> Packing:
    """old, with those of its rows replaced for which new has a higher bound."""
    wins = new.bound > old.bound[rows]
    width = max(old.members.shape[1], new.members.shape[1])
    bound, members, amount = old.bound.copy(), _widen(old.members, width), _widen(old.amount, width)
    bound[rows[wins]] = new.bound[wins]
    members[rows[wins]] = _widen(new.members, width)[wins]
    amount[rows[wins]] = _widen(new.amount, width)[wins]
    return Packing(bound, members, amount)


def _widen(array: npt.NDArray[Number], width: int) -> npt.NDArray[Number]:
    return np.pad(array, ((0, 0), (0, width - array.shape[1])))


def bit_of(place: Index) -> Mask:
    """The bit of each place; 0 past the 63rd, where no masks are used."""
    bit = np.left_shift(np.uint64(1), np.minimum(place, 63).astype(np.uint64))
    return np.where(place < 63, bit, np.uint64(0))
