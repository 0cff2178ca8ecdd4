"""Compiled search for minimum feedback arc sets: local search, packed cycles, dynamic program over subsets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import Float

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint64]

GRIDS = (2.0, 120.0, 2000.0)
"""Steps of a unit of vote weight that are tried in turn: halves, then what divides 120, then thousandths."""
FINEST = 2.0**34
"""Steps of a prompt's whole net weight where none of these fits."""
LARGEST = 2.0**36
"""Steps that the whole net weight of a prompt may take."""
ROUNDING = 1e-12
"""How far off a grid a net weight may be and still be on it, as a part of the prompt's whole: a sum's last bits."""


class Weights(NamedTuple):
    """Whole weights, under which a best order is best by votes and, of those, agrees most with given strengths."""

    net: Float
    """(N, N) antisymmetric whole numbers: scale × steps of vote weight + a share of the gap in strength."""
    whole: Float
    """(N, N) antisymmetric whole numbers: by how many steps votes prefer i to j."""
    step: float
    """Vote weight of one step."""
    slack: float
    """By how much rounding to steps can have changed the cost of any order, at most; vote weight."""
    scale: float
    """What one step of vote weight counts in net."""
    swing: float
    """What all gaps in strength together count there, at most scale / 16."""


@compiled
def weigh(wins: Float, strength: Float) -> Weights:
    """Net vote weight in whole steps, and with it a term in the direction of strength too small to outweigh one step.

    wins: (N, N) of one prompt. strength: (N,). The cost of an order in net differs from scale × its cost in steps by at
    most swing: fewer steps always win, and of equal ones the better agreement.
    """
    n = len(wins)
    total, spread = 0.0, 0.0
    for i in range(n):
        for j in range(i):
            total += abs(wins[i, j] - wins[j, i])
            spread += abs(strength[i] - strength[j])
    step = _step(wins, total)
    scale = 2.0 ** min(40.0, 51 - np.ceil(np.log2(total / step + n * n + 2)))
    share = scale / 16
    net, whole, slack, swing = np.zeros((n, n)), np.zeros((n, n)), 0.0, 0.0
    for i in range(n):
        for j in range(i):
            gap = wins[i, j] - wins[j, i]
            small = np.trunc((strength[i] - strength[j]) / spread * share) if spread > 0 else 0.0
            whole[i, j] = np.rint(gap / step)
            net[i, j] = whole[i, j] * scale + small
            whole[j, i], net[j, i] = -whole[i, j], -net[i, j]
            slack += abs(gap - whole[i, j] * step)
            swing += abs(small)
    return Weights(net, whole, step, slack, scale, swing)


@compiled
def _step(wins: Float, total: float) -> float:
    """Vote weight of one step: the coarsest grid that holds all net weights, else a fine part of their total.

    Each prompt takes its own, so that no prompt's answer depends on what else is ranked with it.
    """
    for grid in GRIDS:
        if total * grid < LARGEST and _fits(wins, grid, total * grid * ROUNDING):
            return 1 / grid
    return total / FINEST


@compiled
def _fits(wins: Float, grid: float, rounding: float) -> bool:
    for i in range(len(wins)):
        for j in range(i):
            steps = (wins[i, j] - wins[j, i]) * grid
            if abs(steps - np.rint(steps)) > rounding:
                return False
    return True


@compiled
def steps_proved(bound: float, weights: Weights) -> float:
    """Steps of vote weight that every order costs, given a lower bound on every order's cost in weights.net.

    A pair costs at most scale × its steps plus its part of the swing, hence bound ≤ scale × steps + swing.
    """
    return max(0.0, float(np.ceil((bound - weights.swing) / weights.scale)))


@compiled
def arrange(net: Float, order: Index) -> Float:
    """(m, m) the weights among the m responses in order, rows and columns as they stand there."""
    m = len(order)
    arranged = np.empty((m, m))
    for p in range(m):
        for q in range(m):
            arranged[p, q] = net[order[p], order[q]]
    return arranged


@compiled
def against(net: Float, order: Index) -> float:
    """Net weight that goes against the order: the sum over pairs whose preferred one stands later.

    net: (n, n) antisymmetric, above 0 where i is preferred. order: responses, best first.
    """
    cost = 0.0
    for p in range(len(order)):
        for q in range(p):
            cost += max(net[order[p], order[q]], 0.0)
    return cost


@compiled
def improve(net: Float, order: Index) -> Index:
    """An order that no exchange of two adjacent blocks of places makes cheaper, starting from the given one.

    Moving one response anywhere is the exchange of a block of one. Each step makes the best exchange, the first of
    equals.
    """
    order = order.copy()
    while True:
        gain, start, middle, end = _best_exchange(arrange(net, order))
        if gain <= 0:
            return order
        before = order.copy()
        for p in range(start, end):
            order[p] = before[p + middle - start if p + middle - start < end else p + middle - end]


@compiled
def _best_exchange(arranged: Float) -> tuple[float, int, int, int]:
    """What the exchange of places start … middle−1 with middle … end−1 saves at best, and these three.

    It saves the net weight by which the right block is preferred to the left one.
    """
    n = len(arranged)
    sums = np.zeros((n + 1, n + 1))  # sums[i, j] = total of rows before i and columns before j
    for i in range(n):
        row = 0.0
        for j in range(n):
            row += arranged[i, j]
            sums[i + 1, j + 1] = sums[i, j + 1] + row
    best, start, middle, end = 0.0, 0, 0, 0
    for a in range(n):
        for b in range(a + 1, n):
            rest = sums[b, b] - sums[a, b]
            for c in range(b + 1, n + 1):
                gain = rest + sums[a, c] - sums[b, c]
                if gain > best:
                    best, start, middle, end = gain, a, b, c
    return best, start, middle, end


LONGEST = 5
"""Arcs in the longest cycle that is packed."""


class Packing(NamedTuple):
    """C weighted cycles of one problem."""

    bound: float
    """Σ amount, a lower bound on the cost of every order."""
    places: Index
    """(C, L) the places on each cycle, filled up with −1."""
    amount: Float
    """(C,) how much of each of its arcs the cycle uses."""


@compiled
def pack(arranged: Float) -> Packing:
    """A greedy packing: short cycles first, and of arcs against the order those first that span few places.

    arranged: (n, n) antisymmetric, rows and columns standing in a good order: what lies below the diagonal and is
    above 0 goes against it.
    """
    n = len(arranged)
    left = np.maximum(arranged, 0.0)  # (n, n) what is left of each arc
    places = np.full((n * (n - 1) // 2 + 1, LONGEST), -1)  # each cycle uses up an arc
    amount = np.zeros(len(places))
    width, trail = np.zeros(n), np.zeros((LONGEST, n), dtype=np.int64)
    count = 0
    for arcs in range(2, LONGEST):
        for span in range(arcs, n):
            for p in range(n - span):
                while left[p + span, p] > 0:
                    widest = _widest(left, p, p + span, arcs, width, trail)
                    if widest <= 0:
                        break
                    amount[count] = min(widest, left[p + span, p])
                    at = p + span
                    left[at, p] -= amount[count]
                    for a in range(arcs, 0, -1):
                        places[count, a] = at
                        before = trail[a, at]
                        left[before, at] -= amount[count]
                        at = before
                    places[count, 0] = p
                    count += 1
    return Packing(amount.sum(), places[:count], amount[:count])


@compiled
def _widest(left: Float, p: int, q: int, arcs: int, width: Float, trail: Index) -> float:
    """The width of the widest path p → q of so many arcs, all along the order; trail[a, v] is v's forerunner at arc a.

    width: (n,) and trail are used as working space.
    """
    for v in range(p + 1, q):
        width[v] = left[p, v]
        trail[1, v] = p
    for a in range(2, arcs):
        for v in range(q - 1, p, -1):  # forerunners stand before v, and still hold the width of a path of a − 1 arcs
            best = 0.0
            for u in range(p + 1, v):
                through = min(width[u], left[u, v])
                if through > best:
                    best = through
                    trail[a, v] = u
            width[v] = best
    best = 0.0
    for v in range(p + 1, q):
        through = min(width[v], left[v, q])
        if through > best:
            best = through
            trail[arcs, q] = v
    return best


MOST_RESPONSES = 63
"""A set of places is one 64-bit word."""


class Search(NamedTuple):
    """What the search of a problem found."""

    order: Index
    """(n,) places in their best order; as they stood, unless a cheaper order than the given cost was found."""
    finished: bool
    """Within the budget of states: no order is cheaper than this one (than the given cost, if it is as they stood)."""
    states: int
    """Sets that were held."""


@compiled
def search(arranged: Float, packing: Packing, upper: float, max_states: int) -> Search:
    """An order cheaper than upper, the cost of the order as it stands, or the proof that there is none.

    arranged: (n, n) antisymmetric whole numbers, n ≤ 63, on which packing is a packing.
    """
    n = len(arranged)
    weights = np.maximum(arranged, 0.0)
    bit = np.left_shift(np.uint64(1), np.arange(n).astype(np.uint64))
    members = _members(packing.places, bit)
    placed, cost = np.zeros(max_states + 2, dtype=np.uint64), np.zeros(max_states + 2)
    parent, choice = np.empty(max_states + 2, dtype=np.int32), np.empty(max_states + 2, dtype=np.int8)
    table = np.zeros(2 ** (int(np.log2(max_states)) + 2), dtype=np.int32)
    column, broken = np.empty(n), np.empty(n)
    begin, end = 0, 1  # states of this level: sets of so many places; the first is the empty set
    for _ in range(n):
        level = end
        for s in range(begin, level):
            _place_next(weights, bit, placed[s], column)
            live = _remaining(packing.places, packing.amount, members, placed[s], broken)
            for v in range(n):
                if placed[s] & bit[v] or cost[s] + column[v] + live - broken[v] > upper - 1:
                    continue  # costs are whole: what is cheaper is so by 1 at least
                wanted = placed[s] | bit[v]
                at = _slot(table, placed, wanted, level)
                state = table[at]
                if state < level:
                    if end > max_states:
                        return Search(np.arange(n), False, end)
                    state = table[at] = end
                    placed[state] = wanted
                    end += 1
                elif cost[s] + column[v] >= cost[state]:
                    continue
                cost[state], parent[state], choice[state] = cost[s] + column[v], s, v
        begin = level
    order = np.arange(n)
    if end > begin:
        state = begin
        for place in range(n - 1, -1, -1):
            order[place] = choice[state]
            state = parent[state]
    return Search(order, True, end)


@compiled
def _members(places: Index, bit: Mask) -> Mask:
    """(C,) the places on each cycle, as bits."""
    members = np.zeros(len(places), dtype=np.uint64)
    for c in range(len(places)):
        for a in range(places.shape[1]):
            if places[c, a] >= 0:
                members[c] |= bit[places[c, a]]
    return members


@compiled
def _place_next(weights: Float, bit: Mask, placed: np.uint64, column: Float) -> None:
    """Fills (n,) what it costs to place v next: the weight by which the others that remain are preferred to it."""
    n = len(column)
    for v in range(n):
        column[v] = 0.0
    for u in range(n):
        if not placed & bit[u]:
            for v in range(n):
                column[v] += weights[u, v]


@compiled
def _remaining(places: Index, amount: Float, members: Mask, placed: np.uint64, broken: Float) -> float:
    """The amount of the cycles through no placed response; fills (n,) that of those of them that go through v."""
    for v in range(len(broken)):
        broken[v] = 0.0
    live = 0.0
    for c in range(len(members)):
        if not members[c] & placed:
            live += amount[c]
            for a in range(places.shape[1]):
                v = places[c, a]
                if v < 0:
                    break
                broken[v] += amount[c]
    return live


@compiled
def _slot(table: Index, placed: Mask, wanted: np.uint64, level: int) -> np.int64:
    """Where table has the state with the wanted set, or room for it. States before level are gone, and leave room."""
    last = len(table) - 1
    at = np.int64((wanted * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & last
    while table[at] >= level and placed[table[at]] != wanted:
        at = (at + 1) & last
    return at


@compiled
def minimum_order(net: Float, max_states: int) -> tuple[Index, float]:
    """(n,) a good order, best first, and a proved lower bound on the cost of any order.

    net: (n, n) antisymmetric whole numbers, above 0 where i is preferred. The given numbering breaks ties. max_states:
    sets that the dynamic program may hold for one component.
    """
    order, starts = components(net)
    bound = 0.0
    for c in range(len(starts) - 1):
        first, after = starts[c], starts[c + 1]
        members = order[first:after].copy()
        found, proved = component_order(arrange(net, members), max_states)
        for p in range(len(members)):
            order[first + p] = members[found[p]]
        bound += proved
    return order, bound


@compiled
def component_order(net: Float, max_states: int) -> tuple[Index, float]:
    """The same for one component: local search, packed cycles where its cost is above 0, subsets where they differ."""
    order = improve(net, np.arange(len(net)))
    cost = against(net, order)
    if cost == 0:
        return order, cost
    arranged = arrange(net, order)
    packing = pack(arranged)
    if packing.bound == cost or len(net) > MOST_RESPONSES:
        return order, packing.bound
    found = search(arranged, packing, cost, max_states)
    best = np.empty_like(order)
    for p in range(len(order)):
        best[p] = order[found.order[p]]
    return best, against(net, best) if found.finished else packing.bound


@compiled
def components(net: Float) -> tuple[Index, Index]:
    """(n,) responses sorted so that no arc goes back from one component to an earlier one; and where components start.

    net: (n, n) antisymmetric. The given numbering decides within a component and between equals. The starts end with n.
    """
    n = len(net)
    reach = net > 0
    for k in range(n):
        reach[k, k] = True
        for i in range(n):
            if reach[i, k]:
                for j in range(n):
                    reach[i, j] |= reach[k, j]
    key = np.empty(n, dtype=np.int64)
    for i in range(n):
        first, reached = i, 0
        for j in range(n):
            reached += reach[i, j]
            if reach[i, j] and reach[j, i]:
                first = min(first, j)
        # Who comes earlier reaches all that its successors reach and itself: more.
        key[i] = first - reached * n
    order, starts = np.empty(n, dtype=np.int64), np.empty(n + 1, dtype=np.int64)
    for i in range(n):
        place = 0
        for j in range(n):
            place += key[j] < key[i] or (key[j] == key[i] and j < i)
        order[place] = i
    count = 0
    for p in range(n):
        if p == 0 or key[order[p]] != key[order[p - 1]]:
            starts[count] = p
            count += 1
    starts[count] = n
    return order, starts[: count + 1]


@compiled
def solve_easy(
    wins: Float, strength: Float, start: Index, max_states: int
) -> tuple[Float, Float, npt.NDArray[np.bool_]]:
    """(B, N) scores, a (B,) bound on the cost of any order, and (B,) whether the two leave something open.

    start: (B, N) the responses by strength.
    """
    scores, bound, is_open = np.empty(strength.shape), np.empty(len(wins)), np.empty(len(wins), dtype=np.bool_)
    for b in range(len(wins)):
        arranged, mine = arrange(wins[b], start[b]), np.empty(len(start[b]))
        for p in range(len(mine)):
            mine[p] = strength[b, start[b, p]]
        weights = weigh(arranged, mine)
        order, proved = minimum_order(weights.net, max_states)
        is_open[b] = proved < against(weights.net, order)
        places, bound[b] = conclude(arranged, mine, weights, order, steps_proved(proved, weights))
        for p in range(len(mine)):
            scores[b, start[b, p]] = places[p]
    return scores, bound, is_open


@compiled
def conclude(wins: Float, strength: Float, weights: Weights, order: Index, steps: float) -> tuple[Float, float]:
    """(N,) scores of an order, and the bound on the cost of any order that so many steps prove, vote weight.

    A score is N − 1 − place, averaged over a run of neighbours that nothing separates; it ends where any two differ.
    """
    n = len(order)
    scores, unavoidable = np.empty(n), 0.0
    first = 0
    for p in range(n):
        for q in range(p):
            unavoidable += min(wins[p, q], wins[q, p])
        for q in range(first, p):
            if weights.whole[order[q], order[p]] != 0 or strength[order[q]] != strength[order[p]]:
                first = p
        for q in range(first, p + 1):  # the run so far: places first … p
            scores[order[q]] = n - 1 - (first + p) / 2
    return scores, max(steps * weights.step - weights.slack, 0.0) + unavoidable
