"""Prompts taken apart into strongly connected components, each solved by the cheapest means that proves it optimal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float
from curate.rankers.fas_bounds import pack
from curate.rankers.fas_search import Index, against, arrange, improve, shake
from curate.rankers.fas_subsets import MOST_RESPONSES, search

ROUNDS = 20
"""Random restarts where the first order is not proved."""


def minimum_orders(net: Float, max_states: int, max_nodes: int) -> tuple[Index, Float]:
    """(B, N) orders, best first, and a (B,) proved lower bound on the cost of any order.

    net: (B, N, N) antisymmetric whole numbers, above 0 where i is preferred. The given numbering breaks ties.
    max_states, max_nodes: what a component may use of subsets and of linear programs (0: none).
    """
    order, leader, size = _components(net)
    bound = np.zeros(len(net))
    begins = np.diff(leader, axis=1, prepend=-1) != 0  # (B, N) a component starts at this place
    for n in np.unique(size[size > 1]):
        b, first = np.nonzero(begins & (size == n))
        places = first[:, None] + np.arange(n)
        nodes = order[b[:, None], places]
        block = net[b[:, None, None], nodes[:, :, None], nodes[:, None, :]]
        answer = _solve(block, max_states, max_nodes)
        order[b[:, None], places] = np.take_along_axis(nodes, answer.order, axis=1)
        np.add.at(bound, b, answer.bound)
    return order, bound


def _components(net: Float) -> tuple[Index, Index, npt.NDArray[np.int64]]:
    """Responses sorted so that no arc goes back from one component to an earlier one.

    Returns (B, N) the order, and at each place of it the first member and the size of its component.
    """
    n = net.shape[1]
    reach = ((net > 0) | np.eye(n, dtype=np.bool_)).astype(np.float32)
    for _ in range(max(n - 1, 1).bit_length()):
        reach = (reach @ reach > 0).astype(np.float32)
    mutual = (reach > 0) & (reach.swapaxes(1, 2) > 0)
    leader, size = mutual.argmax(axis=2), mutual.sum(axis=2)
    # Who comes earlier reaches all that its successors reach and itself: more.
    order = np.lexsort((np.broadcast_to(np.arange(n), leader.shape), leader, -reach.sum(axis=2)))
    return order, np.take_along_axis(leader, order, axis=1), np.take_along_axis(size, order, axis=1)


class _Blocks(NamedTuple):
    order: Index
    """(K, n)"""
    bound: Float
    """(K,)"""


def _solve(net: Float, max_states: int, max_nodes: int) -> _Blocks:
    """K components of n responses each."""
    order = improve(net, np.tile(np.arange(net.shape[1]), (len(net), 1)))
    bound = pack(arrange(net, order), tries=1).bound
    rows = np.flatnonzero(bound < against(net, order))
    if len(rows):
        order[rows] = shake(net[rows], order[rows], ROUNDS)
        arranged, cost = arrange(net[rows], order[rows]), against(net[rows], order[rows])
        packing = pack(arranged)
        bound[rows] = np.maximum(bound[rows], packing.bound)
        if net.shape[1] <= MOST_RESPONSES:
            found = search(arranged, packing, cost, max_states)
            order[rows] = np.take_along_axis(order[rows], found.order, axis=1)
            bound[rows] = np.where(found.finished, found.cost, bound[rows])
    for row in np.flatnonzero(bound < against(net, order)) if max_nodes else ():
        order[row], bound[row] = _solve_one(net[row], order[row], max_states, max_nodes)
    return _Blocks(order, bound)


def _solve_one(net: Float, order: Index, max_states: int, max_nodes: int) -> tuple[Index, float]:
    """One (n, n) component that was left open: the best packing, subsets again with its help, then the program."""
    from curate.rankers.fas_cycles import best_packing
    from curate.rankers.fas_program import branch_and_bound

    arranged, cost = arrange(net[None], order[None]), against(net[None], order[None])
    packing = best_packing(arranged[0])
    if np.ceil(packing.bound[0]) >= cost[0]:
        return order, float(cost[0])
    if len(net) <= MOST_RESPONSES:
        found = search(arranged, packing, cost, max_states)
        order = order[found.order[0]]
        if found.finished[0]:
            return order, float(found.cost[0])
    proved = branch_and_bound(net, order, max_nodes)
    return proved.order, max(proved.bound, float(np.ceil(packing.bound[0])))
