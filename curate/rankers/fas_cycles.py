"""The best packing of directed cycles, by a linear program: for the few problems that greedy packings leave open.

The program's dual covers: z ≥ 0 on arcs, at least 1 around every cycle, of least weight. Cycles are added only where an
answer leaves them short, found as shortest paths; the multipliers of their rows are the packing. HiGHS, through cvxpy,
only proposes it: amounts are rounded, and each is cut to what its arcs have left, so that they pack by construction.
"""

from __future__ import annotations

import numpy as np

from curate.rankers.base import Float
from curate.rankers.fas_bounds import Index, Packing, bit_of

SHORT = 1e-6
"""A cycle is added when its arcs' z sum to less than 1 by this much."""
HOP = 1e-7
"""Length added to each arc, so that of equally short cycles the one with the fewest arcs is taken."""


def best_packing(arranged: Float) -> Packing:
    """A packing of one problem whose bound is, up to rounding, the highest that any packing has.

    arranged: (n, n) antisymmetric whole numbers, in a good order. Without an answer from the solver the cycles found
    until then are packed as they come.
    """
    n = len(arranged)
    tail, head = np.nonzero(arranged > 0)
    weight = arranged[tail, head]
    number = np.full((n, n), -1)
    number[tail, head] = np.arange(len(tail))
    cycles: dict[tuple[int, ...], tuple[int, ...]] = {}  # its arcs, sorted -> its arcs in turn
    z, amounts = np.zeros(len(tail)), np.zeros(0)
    while True:
        fresh = {arcs: turn for arcs, turn in _short_cycles(number, tail, head, z).items() if arcs not in cycles}
        if not fresh:
            break
        cycles |= fresh
        answer = _cover(weight, list(cycles.values()))
        if answer is None:
            amounts = np.full(len(cycles), weight.max())
            break
        z, amounts = answer
    return _pack_exactly(weight, tail, list(cycles.values())[: len(amounts)], amounts)


def _short_cycles(number: Index, tail: Index, head: Index, z: Float) -> dict[tuple[int, ...], tuple[int, ...]]:
    """For each arc the shortest cycle through it, by z, where that is short of 1."""
    n = len(number)
    length = np.full((n, n), np.inf)
    length[tail, head] = z + HOP
    via = np.tile(np.arange(n), (n, 1))  # the next stop on the way from row to column
    for k in range(n):
        through = length[:, k, None] + length[None, k, :]
        shorter = through < length
        length = np.where(shorter, through, length)
        via = np.where(shorter, via[:, k, None], via)
    around = z + length[head, tail]
    found = {}
    for arc in np.flatnonzero(around < 1 - SHORT).tolist():
        stop, end, turn = int(head[arc]), int(tail[arc]), [arc]
        while stop != end:
            onward = int(via[stop, end])
            turn.append(int(number[stop, onward]))
            stop = onward
        found[tuple(sorted(turn))] = tuple(turn)
    return found


def _cover(weight: Float, cycles: list[tuple[int, ...]]) -> tuple[Float, Float] | None:
    """(arcs,) the cheapest z that gives every cycle 1, and (cycles,) multipliers; None without an answer."""
    import cvxpy as cp
    from scipy import sparse

    at = np.repeat(np.arange(len(cycles)), [len(turn) for turn in cycles])
    rows = sparse.csr_array((np.ones(len(at)), (at, np.concatenate(cycles))), shape=(len(cycles), len(weight)))
    z = cp.Variable(len(weight), nonneg=True)
    covered = rows @ z >= 1
    problem = cp.Problem(cp.Minimize(weight @ z), [covered])
    try:
        problem.solve(solver=cp.HIGHS)  # type: ignore[no-untyped-call]
    except cp.SolverError:
        return None
    return None if z.value is None else (np.maximum(z.value, 0), np.asarray(covered.dual_value))


def _pack_exactly(weight: Float, tail: Index, cycles: list[tuple[int, ...]], amounts: Float) -> Packing:
    """The cycles with amounts rounded to a binary fraction, none more than its arcs have left."""
    steps = 2.0 ** np.clip(51 - np.ceil(np.log2(weight.sum() + 1)), 0, 20)
    left = weight.copy()
    members, kept = np.zeros((1, len(cycles)), dtype=np.uint64), np.zeros((1, len(cycles)))
    for c, (turn, amount) in enumerate(zip(cycles, np.round(np.maximum(amounts, 0) * steps) / steps, strict=True)):
        arcs = list(turn)
        kept[0, c] = min(amount, left[arcs].min())
        left[arcs] -= kept[0, c]
        members[0, c] = np.bitwise_or.reduce(bit_of(tail[arcs]))
    used = kept[0] > 0
    return Packing(kept.sum(axis=1), members[:, used], kept[:, used])
