"""Feedback arc set: proven costs against all permutations and an integer program, and its budgets."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.rankers.bradley_terry import fit
from curate.rankers.feedback_arc_set.programs import CoverProgram, Node, prove, violated_cycles
from curate.rankers.feedback_arc_set.ranker import FeedbackArcSet, conclude
from curate.rankers.feedback_arc_set.search import (
    Packing,
    Solution,
    arrange,
    component_bounds,
    component_order,
    components,
    improve,
    order_weight,
    pack,
    search,
)
from curate.rankers.feedback_arc_set.weights import Weights, steps_proven, weigh
from curate.votes.arrays import VoteArrays
from tests.feedback_arc_set_reference import (
    exact_bound,
    exchanges,
    least_by_subsets,
    least_of_part,
    order_cost,
    order_costs,
    plain_components,
    plain_improve,
    plain_places,
    plain_program,
    short_cycle_lengths,
)
from tests.strategies import prompt_sets, random_wins, relabelled, votes_from, votes_from_wins, wins_matrices


def net_of(wins: object) -> np.ndarray:
    """(n, n) net weights in halves of a vote: antisymmetric whole numbers."""
    matrix = 2 * np.array(wins)
    return matrix - matrix.T


def minimum_order(net: np.ndarray, max_states: int) -> Solution:
    """An order of one problem and a bound, component by component."""
    [order], [label] = components(net[None])
    bound = 0.0
    for first, after in pairwise(component_bounds(label)):
        members = order[first:after].copy()
        part = component_order(arrange(net, members), max_states)
        order[first:after] = members[part.order]
        bound += part.bound
    return Solution(order, bound)


def by_votes_alone(net: np.ndarray) -> Weights:
    return Weights(net=net, whole=net, step=1.0, slack=0.0, scale=1.0, swing=0.0)


def paley(size: int) -> np.ndarray:
    """The tournament in which i beats j if j − i is a square: all orders have similar costs."""
    squares = {i * i % size for i in range(1, size)}
    return np.array([[1.0 if (j - i) % size in squares else -1.0 * (i != j) for j in range(size)] for i in range(size)])


@settings(max_examples=60, deadline=None)
@given(votes=prompt_sets(max_prompts=4, max_size=6))
def test_cost_is_the_minimum_over_permutations_and_proven(votes: VoteArrays) -> None:
    ranking = FeedbackArcSet()(votes)
    assert ranking.converged.all()
    np.testing.assert_array_equal(ranking.cost, ranking.bound)
    for graphs in votes.graphs:
        for p, wins in zip(graphs.prompts, graphs.wins, strict=True):
            assert ranking.cost[p] == min(order_costs(wins))[0]


WEIGHTS = {
    "off every grid": st.floats(1e-3, 1e3),
    "of K-wise rankings": st.sampled_from([1 / 3, 1 / 2, 2 / 3, 1.0]),
    "tiny": st.floats(1e-12, 1e-9),
    "huge": st.floats(1e9, 1e15),
    "of all sizes": st.sampled_from([1e-6, 1 / 7, 1.0, 1e6, 1e12]),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_any_weights_are_solved_within_the_tolerance(kind: str, data: st.DataObject) -> None:
    wins = data.draw(wins_matrices(5, WEIGHTS[kind]))
    ranking = FeedbackArcSet()(votes_from_wins(wins))
    least = min(order_costs(np.array(wins)))[0]
    total = np.sum(wins)
    assert ranking.converged.all()
    assert ranking.bound[0] <= least * (1 + 1e-12)
    assert ranking.cost[0] == pytest.approx(least, abs=1e-7 * total)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "votes_per_pair", "seed"), [(7, 1.0, 0), (11, 1.0, 1), (12, 0.6, 2), (13, 3.0, 3)])
def test_cost_equals_that_of_the_plain_integer_program(size: int, votes_per_pair: float, seed: int) -> None:
    wins = random_wins(size, votes_per_pair, seed)
    ranking = FeedbackArcSet()(votes_from_wins(wins))
    assert ranking.converged.all()
    assert ranking.cost[0] == pytest.approx(plain_program(np.array(wins)), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_linear_programs_alone_prove_the_same_cost(seed: int) -> None:
    votes = votes_from_wins(random_wins(14, 1.0, seed))
    by_program, by_subsets = FeedbackArcSet(max_states=1)(votes), FeedbackArcSet()(votes)
    assert by_program.converged.all()
    assert by_program.cost.tolist() == by_subsets.cost.tolist()


def test_branch_and_bound_closes_the_gap_of_the_relaxation() -> None:
    """The Paley tournament on 11 responses: its relaxation is fractional; the subset search gives its optimum."""
    net = paley(11)
    order, bound = minimum_order(net, 1_000_000)
    least = order_weight(net, order)
    assert bound == least
    relaxed = CoverProgram(net, np.arange(11), 100)
    assert relaxed.relax(relaxed.all_orders(), np.inf).bound < least - 1
    full = prove(by_votes_alone(net), np.arange(11), 1, 5_000)
    assert full.bound == order_weight(net, full.order) == least


@pytest.mark.parametrize("seed", range(3))
def test_solver_integer_program_finds_the_same_cost(seed: int) -> None:
    votes = votes_from_wins(random_wins(9, 1.0, seed), random_wins(1, 1.0, seed), random_wins(2, 3.0, seed))
    search, program = FeedbackArcSet()(votes), FeedbackArcSet(solver="integer-program")(votes)
    assert program.converged.all()
    assert program.cost == pytest.approx(search.cost)
    assert program.bound == pytest.approx(search.bound)


@pytest.mark.parametrize("programs", [1, 3, 10, 30])
def test_branch_and_bound_out_of_budget_stays_below_the_optimum(programs: int) -> None:
    """The budget ends before the proof."""
    net = paley(11)
    least = minimum_order(net, 1_000_000)[1]
    stopped = prove(by_votes_alone(net), np.arange(11), 1, programs)
    assert stopped.bound < least <= order_weight(net, stopped.order)


def test_out_of_budget_the_bound_is_below_the_cost_and_not_converged() -> None:
    votes = votes_from_wins(tournament(26, seed=0))
    ranking = FeedbackArcSet(max_states=1, max_nodes=1)(votes)
    assert 0 < ranking.bound[0] < ranking.cost[0]
    assert ranking.converged.tolist() == [False]
    assert sorted(ranking.scores) == list(range(26))


def tournament(size: int, seed: int) -> list[list[float]]:
    """One vote per pair, at random: no order is good, and the proof is long."""
    majority = np.triu(np.random.default_rng(seed).integers(0, 2, (size, size)), 1)
    return (majority + np.tril(1 - majority.T, -1)).tolist()


@pytest.mark.parametrize("steps", [1e5, 3e5, 1e6])
def test_a_program_that_stops_within_its_iterations_still_proves_a_bound(steps: float) -> None:
    net = 2.0 * np.array(tournament(14, seed=1))
    net -= net.T
    stopped = prove(by_votes_alone(net), np.arange(14), 1, 1_000, steps)
    assert 0 < stopped.bound <= minimum_order(net, 1_000_000)[1]


def test_all_prompts_share_the_steps_and_their_order_does_not_matter() -> None:
    large, small = tournament(30, seed=0), random_wins(9, 1.0, seed=0)
    ranker = FeedbackArcSet(max_states=100, max_total_steps=2e6)
    alone, first, last = (ranker(votes_from_wins(*wins)) for wins in ([large], [large, small], [small, large]))
    assert alone.converged.tolist() == [False]
    assert 0 < alone.bound[0] < alone.cost[0]
    assert first.bound.tolist() == last.bound.tolist()[::-1] == [alone.bound[0], first.cost[1]]
    shared = ranker(votes_from_wins(large, large))
    assert shared.bound[0] == shared.bound[1] < alone.bound[0]


def test_without_proofs_orders_are_local_optima_and_no_program_is_solved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.rankers.feedback_arc_set.programs.prove", None)
    wins = tournament(20, seed=2)
    ranking = FeedbackArcSet(prove=False)(votes_from_wins(wins))
    assert ranking.converged.tolist() == [False]
    order = np.argsort(-ranking.scores).tolist()
    costs = [order_cost(np.array(wins), other) for other in exchanges(order)]
    assert ranking.cost[0] == order_cost(np.array(wins), order) == min(costs)


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(7), order=st.permutations(range(7)))
def test_after_moves_no_response_has_a_better_place(wins: list[list[float]], order: list[int]) -> None:
    from curate.rankers.feedback_arc_set.kernels import move_responses

    net, moved = net_of(wins), np.array([v for v in order if v < len(wins)])
    before = order_weight(net, moved)
    move_responses(net, moved)
    assert sorted(moved) == list(range(len(wins)))
    assert order_weight(net, moved) <= before
    for p, q in product(range(len(wins)), repeat=2):
        other = np.insert(np.delete(moved, p), q, moved[p])
        assert order_weight(net, other) >= order_weight(net, moved)


def test_more_than_64_responses_are_solved() -> None:
    votes = votes_from_wins(random_wins(70, 0.12, seed=0))
    ranking = FeedbackArcSet()(votes)
    assert ranking.converged.all()
    assert ranking.cost[0] > 0


@settings(max_examples=40, deadline=None)
@given(wins=wins_matrices(6), max_states=st.sampled_from([1, 200_000]))
def test_among_optima_it_agrees_most_with_bradley_terry(wins: list[list[float]], max_states: int) -> None:
    """Both by the subset search and by linear programs."""
    votes = votes_from_wins(wins)
    strength = np.round(fit(np.array([wins]), 0.1).strength[0], 9)
    difference = strength[:, None] - strength[None, :]
    costs = order_costs(np.array(wins))
    least = min(costs)[0]
    expected = min(order_cost(difference, order) for cost, order in costs if cost == least)
    found = np.argsort(-FeedbackArcSet(max_states=max_states)(votes).scores, kind="stable").tolist()
    assert order_cost(difference, found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("settings_", [{}, {"max_states": 1}])
def test_renumbering_responses_renumbers_the_ranking(settings_: dict[str, int]) -> None:
    votes = votes_from_wins(*(random_wins(15, 0.9, seed) for seed in range(3)))
    renumbered, new = relabelled(votes, seed=4)
    ranker = FeedbackArcSet(**settings_)
    assert ranker(renumbered).scores[new].tolist() == ranker(votes).scores.tolist()


def test_a_cycle_starts_at_the_strongest_response() -> None:
    """a, b, c form a cycle with three optima; b also beats d, so b is the strongest for Bradley-Terry."""
    rows = [("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "c", "a", "left"), ("p", "b", "d", "left")]
    scores = dict(zip("abcd", FeedbackArcSet()(votes_from(rows)).scores, strict=True))
    assert max(scores, key=lambda name: scores[name]) == "b"


def test_neighbours_that_nothing_separates_are_tied() -> None:
    votes = votes_from([("p", "a", "b", "left"), ("p", "a", "c", "left"), ("p", "b", "c", "tie")])
    assert FeedbackArcSet()(votes).scores.tolist() == [2.0, 0.5, 0.5]


def test_responses_without_votes_are_tied_in_the_middle() -> None:
    votes = votes_from([("p", "a", "b", "left")], silent=[("p", "c"), ("p", "d"), ("q", "only")])
    ranking = FeedbackArcSet()(votes)
    assert ranking.scores.tolist() == [3.0, 0.0, 1.5, 1.5, 0.0]
    assert ranking.converged.all()


@settings(max_examples=40, deadline=None)
@given(
    wins=wins_matrices(6),
    levels=st.lists(st.sampled_from([0.0, 1.0]), min_size=6, max_size=6),
    order=st.permutations(range(6)),
)
def test_scores_equal_the_reference(wins: list[list[float]], levels: list[float], order: list[int]) -> None:
    n = len(wins)
    mine, strength = np.array([v for v in order if v < n]), np.array(levels[:n])
    batch = np.array([wins, wins])
    weights = weigh(batch, np.stack([strength, strength]))
    found = conclude(batch, np.stack([strength, strength]), weights, np.stack([mine, mine]), np.array([0.0, 3.0]))
    assert found.scores.tolist() == [plain_places(weights.whole[0], levels, mine.tolist())] * 2
    assert found.bound[1] == 3.0 * weights.step[1] + np.minimum(wins, np.transpose(wins)).sum() / 2


@settings(max_examples=60, deadline=None)
@given(
    wins=wins_matrices(6, st.one_of(st.sampled_from([1 / 3, 0.5, 1.0, 0.001]), st.floats(1e-6, 1e9))),
    strength=st.lists(st.floats(-5, 5), min_size=6, max_size=6),
)
@example(wins=[[0.0] * 3] * 3, strength=[0.0, 0.0, 2.2250738585e-313, 0.0, 0.0, 0.0])
def test_whole_weights_preserve_the_order_of_costs(wins: list[list[float]], strength: list[float]) -> None:
    """Fewer steps cost less; then better agreement; steps × step equals the weight up to the slack."""
    n, matrix = len(wins), np.array(wins)
    weights = weigh(matrix[None], np.array([strength[:n]])).of(0)
    assert (weights.net == -weights.net.T).all()
    assert (weights.whole == np.rint(weights.whole)).all()
    assert (weights.net == np.rint(weights.net)).all()
    assert np.abs(weights.net).sum() / 2 < 2.0**53
    assert weights.swing <= weights.scale / 16
    assert weights.slack <= 1e-8 * matrix.sum()
    for order in ([*range(n)], [*range(n)][::-1], sorted(range(n), key=strength.__getitem__)):
        steps, both = order_cost(weights.whole, order), order_cost(weights.net, order)
        assert abs(both - weights.scale * steps) <= weights.swing
        assert steps_proven(both, weights) == steps
        assert abs(steps * weights.step - order_cost(matrix - matrix.T, order)) <= weights.slack + 1e-12 * matrix.sum()


def test_weights_on_a_grid_have_no_slack() -> None:
    for unit, step in ((0.5, 1 / 2), (1 / 3, 1 / 120), (0.001, 1 / 2000)):
        weights = weigh(np.array([[[0.0, 7 * unit], [2 * unit, 0.0]]]), np.zeros((1, 2))).of(0)
        assert weights.step == step
        assert weights.whole[0, 1] == pytest.approx(5 * unit / step)
        assert weights.slack < 1e-12


@settings(max_examples=40, deadline=None)
@given(wins=wins_matrices(7))
def test_components_equal_networkx_in_topological_order(wins: list[list[float]]) -> None:
    net = net_of(wins)
    [order], [label] = components(net[None])
    parts = [order[a:b].tolist() for a, b in pairwise(component_bounds(label))]
    assert sorted(map(sorted, parts)) == sorted(map(sorted, plain_components(net)))
    for place, part in enumerate(parts):
        assert part == sorted(part)
        assert not any(net[later, v] > 0 for v in part for other in parts[place + 1 :] for later in other)


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(6))
def test_permutations_and_kernels_find_the_same_cost(wins: list[list[float]]) -> None:
    net = net_of(wins)
    by_permutations = minimum_order(net, 10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.rankers.feedback_arc_set.search.MAX_PERMUTED", 2)
        by_kernels = minimum_order(net, 10_000)
    assert by_kernels.bound == by_permutations.bound == order_weight(net, by_kernels.order)
    assert order_weight(net, by_permutations.order) == by_permutations.bound


def test_small_problems_need_no_compiler() -> None:
    code = (
        "import sys; from tests.strategies import random_wins, votes_from_wins\n"
        "from curate.rankers.feedback_arc_set import FeedbackArcSet\n"
        "assert FeedbackArcSet()(votes_from_wins(random_wins(6, 2.0, seed=0))).cost[0] > 0\n"
        "assert FeedbackArcSet()(votes_from_wins([[j > i for j in range(9)] for i in range(9)])).cost[0] == 0\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(6), order=st.permutations(range(6)))
def test_local_search_equals_the_reference(wins: list[list[float]], order: list[int]) -> None:
    net, start = net_of(wins), [v for v in order if v < len(wins)]
    found = improve(net, np.array(start))
    assert found.tolist() == plain_improve(net, start)
    assert order_weight(net, found) == order_cost(net, found.tolist())


def test_local_search_ends_in_a_local_optimum() -> None:
    for seed in range(3):
        net = net_of(random_wins(9, 2, seed))
        order = improve(net, np.arange(9))
        cost = order_weight(net, order)
        assert all(order_cost(net, other) >= cost for other in exchanges(order.tolist()))


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(7))
def test_packed_cycles_respect_the_weights_and_bound_the_cost(wins: list[list[float]]) -> None:
    net = net_of(wins)
    arranged = arrange(net, improve(net, np.arange(len(wins))))
    packing = pack(arranged)
    used = np.zeros_like(net)
    for places, amount in zip(packing.places, packing.amount, strict=True):
        cycle = places[places >= 0]
        assert 3 <= len(set(cycle.tolist())) == len(cycle) <= 5
        assert amount > 0
        used[cycle, np.roll(cycle, -1)] += amount
    assert (used <= np.maximum(arranged, 0)).all()
    assert packing.bound == packing.amount.sum() <= least_by_subsets(net)


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(7), with_cycles=st.booleans())
def test_pruned_subsets_find_the_optimum(wins: list[list[float]], with_cycles: bool) -> None:
    net = net_of(wins)
    packing = pack(net) if with_cycles else Packing(0.0, np.zeros((0, 1), dtype=np.int64), np.zeros(0))
    found = search(net, packing, order_weight(net, np.arange(len(wins))), 1_000)
    assert found.finished
    assert order_weight(net, found.order) == least_by_subsets(net)


def test_subset_search_stops_at_its_budget() -> None:
    net = net_of(random_wins(16, 1.0, seed=1))
    packing, cost = pack(net), order_weight(net, np.arange(16))
    full = search(net, packing, cost, 200_000)
    assert full.finished
    assert search(net, packing, cost, full.states).order.tolist() == full.order.tolist()
    stopped = search(net, packing, cost, full.states // 2)
    assert not stopped.finished
    assert stopped.order.tolist() == list(range(16))


def test_subset_search_of_63_responses() -> None:
    """The last response beats the first; otherwise lower numbers win."""
    net = np.triu(np.full((63, 63), 2.0), 1)
    net[0, 62] = -3.0
    net -= np.tril(net.T, -1)
    found = search(net, pack(net), 4.0, 10_000)
    assert found.finished
    assert found.states > 63
    assert order_weight(net, found.order) == 3.0


@settings(max_examples=25, deadline=None)
@given(wins=wins_matrices(7), seed=st.integers(0, 9))
def test_violated_cycles_are_shortest_cycles_of_networkx(wins: list[list[float]], seed: int) -> None:
    net = net_of(wins)
    tail, head = np.nonzero(net > 0)
    number = np.full(net.shape, -1)
    number[tail, head] = np.arange(len(tail))
    z = np.random.default_rng(seed).choice([0.0, 0.25, 0.5, 1.0], len(tail))
    cycles = violated_cycles(number, tail, head, z)
    lengths = short_cycle_lengths(net, dict(zip(zip(tail, head, strict=True), z, strict=True)))
    short = {(int(i), int(j)): length for (i, j), length in lengths.items() if length < 0.99}
    assert {(int(tail[cycle[0]]), int(head[cycle[0]])) for cycle in cycles} == set(short)
    for cycle in cycles:
        assert head[cycle].tolist() == np.roll(tail[cycle], -1).tolist()
        assert z[cycle].sum() == short[int(tail[cycle[0]]), int(head[cycle[0]])]


@settings(max_examples=25, deadline=None)
@given(wins=wins_matrices(6), seed=st.integers(0, 9))
def test_any_multipliers_give_a_valid_bound(wins: list[list[float]], seed: int) -> None:
    """The bound equals exact arithmetic and is at most the cost of every order of the node."""
    net = net_of(wins)
    if not (net > 0).any() or not (program := CoverProgram(net, np.arange(len(wins)), 1)).cycles:
        return
    rng = np.random.default_rng(seed)
    program.amount = rng.integers(0, 4, len(program.cycles)).astype(np.float64)
    low, high = np.zeros(len(program.weight)), np.ones(len(program.weight))
    fixed = rng.choice(len(low), min(2, len(low)), replace=False)
    low[fixed[:1]], high[fixed[1:]] = 1, 0
    bound = program.certify(Node(0.0, 0, low, high, low))
    arcs = list(zip(program.tail.tolist(), program.head.tolist(), strict=True))
    least = least_of_part(net, {arcs[a] for a in fixed[:1]}, {arcs[a] for a in fixed[1:]})
    assert bound == exact_bound(program.weight, program.cycles, program.amount, low, high)
    assert bound <= least


@settings(max_examples=12, deadline=None)
@given(wins=wins_matrices(7))
def test_the_best_packing_bounds_the_cost_and_beats_the_greedy_one(wins: list[list[float]]) -> None:
    net = net_of(wins)
    order = improve(net, np.arange(len(wins)))
    if order_weight(net, order) == 0:
        return
    program = CoverProgram(net, order, 100)
    program.relax(program.all_orders(), np.inf)
    best, greedy = program.packing(), pack(arrange(net, order))
    assert best.bound == best.amount.sum() <= least_by_subsets(net)
    # Amounts are rounded to whole numbers here, by 1/2 each at most.
    assert best.bound >= greedy.bound - len(program.cycles) / 2


def test_the_best_packing_proves_what_the_greedy_one_does_not() -> None:
    """Sparse prompts with 18 responses whose greedy packing ends below the optimum."""
    closed = 0
    for seed in range(6):
        weights = weigh(np.array([random_wins(18, 0.8, seed)]), np.zeros((1, 18))).of(0)
        net = weights.net
        order, by_subsets = minimum_order(net, 200_000)
        greedy = minimum_order(net, 1)[1]
        program = CoverProgram(net, order, 100)
        best = max(program.relax(program.all_orders(), np.inf).bound, greedy)
        assert greedy <= best <= by_subsets
        closed += greedy < by_subsets * (1 - 1e-9) <= best
    assert closed >= 2
