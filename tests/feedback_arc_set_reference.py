"""Reference implementations for the feedback arc set: permutations, subsets, networkx, cvxpy and plain sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from itertools import combinations, permutations, product

import networkx as nx
import numpy as np


def order_costs(wins: np.ndarray) -> list[tuple[float, tuple[int, ...]]]:
    """Return the cost of every order."""
    return [(order_cost(wins, order), order) for order in permutations(range(len(wins)))]


def order_cost(wins: np.ndarray, order: Sequence[int]) -> float:
    """Return the sum of the positive entries below the diagonal, rows and columns in this order."""
    return sum(max(0.0, wins[b][a]) for place, a in enumerate(order) for b in order[place + 1 :])


def least_by_subsets(net: np.ndarray) -> float:
    """The least cost of any order, by Held and Karp's recursion over all subsets."""

    @cache
    def cheapest(rest: frozenset[int]) -> float:
        return min(
            (sum(max(0.0, net[u][v]) for u in rest) + cheapest(rest - {v}) for v in rest),
            default=0.0,
        )

    return cheapest(frozenset(range(len(net))))


def exchanges(order: Sequence[int]) -> Iterator[list[int]]:
    """Yield every order that results from exchanging two adjacent blocks."""
    order = list(order)
    for a, b, c in combinations(range(len(order) + 1), 3):
        yield order[:a] + order[b:c] + order[a:b] + order[c:]


def plain_improve(net: np.ndarray, order: Sequence[int]) -> list[int]:
    """Local search that computes the cost of each neighbour from scratch and moves to the first of the best."""
    best = list(order)
    while True:
        cost = order_cost(net, best)
        neighbour = min(exchanges(best), key=lambda other: order_cost(net, other), default=best)
        if order_cost(net, neighbour) >= cost:
            return best
        best = neighbour


def plain_components(net: np.ndarray) -> list[set[int]]:
    """Strongly connected components, by networkx."""
    graph = nx.DiGraph(net > 0)
    return [set(members) for members in nx.strongly_connected_components(graph)]


def short_cycle_lengths(net: np.ndarray, z: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    """Return, for each arc on a cycle, the length by z of its shortest cycle, by networkx."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(net)))
    graph.add_weighted_edges_from((i, j, length) for (i, j), length in z.items())
    found = {}
    for i, j in z:
        if nx.has_path(graph, j, i):
            found[i, j] = z[i, j] + nx.dijkstra_path_length(graph, j, i)
    return found


def least_of_part(net: np.ndarray, against: set[tuple[int, int]], along: set[tuple[int, int]]) -> float:
    """Return the least cost of an order that disagrees with some arcs and agrees with others; infinity if none."""
    place = {order: {v: p for p, v in enumerate(order)} for order in permutations(range(len(net)))}
    return min(
        (
            order_cost(net, order)
            for order, at in place.items()
            if all(at[i] > at[j] for i, j in against) and all(at[i] < at[j] for i, j in along)
        ),
        default=float("inf"),
    )


def plain_places(whole: np.ndarray, strength: Sequence[float], order: Sequence[int]) -> list[float]:
    """Return N − 1 − place of each response, averaged over greedy runs without a separated pair."""
    runs: list[list[int]] = []
    for v in order:
        together = runs and all(whole[u][v] == 0 and strength[u] == strength[v] for u in runs[-1])
        runs = [*runs[:-1], [*runs[-1], v]] if together else [*runs, [v]]
    scores = [0.0] * len(order)
    ahead = 0
    for run in runs:
        for v in run:
            scores[v] = len(order) - 1 - (ahead + (len(run) - 1) / 2)
        ahead += len(run)
    return scores


def exact_bound(weight: Sequence[float], cycles: Sequence[Sequence[int]], amount: Sequence[float], low, high) -> float:
    """Return the Lagrangian bound in fractions: Σ amount + the minimum of each arc's reduced weight times its z."""
    reduced = [Fraction(w) for w in weight]
    for cycle, y in zip(cycles, amount, strict=True):
        for arc in cycle:
            reduced[arc] -= Fraction(y)
    least = [min(r * Fraction(a), r * Fraction(b)) for r, a, b in zip(reduced, low, high, strict=True)]
    return float(sum(Fraction(y) for y in amount) + sum(least))


def plain_program(wins: np.ndarray) -> float:
    """Return the optimum of the linear ordering problem with all constraints, by cvxpy and HiGHS."""
    import cvxpy as cp

    n = len(wins)
    x = cp.Variable((n, n), boolean=True)
    rows = [x[i, j] + x[j, i] == 1 for i in range(n) for j in range(i)]
    rows += [x[i, j] + x[j, k] + x[k, i] <= 2 for i, j, k in product(range(n), repeat=3) if len({i, j, k}) == 3]
    rows += [x[i, i] == 0 for i in range(n)]
    problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(wins, x.T))), rows)
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0)
    return float(problem.value)
