"""Feedback arc set: proved costs against all permutations, against the plain integer program, and out of budget."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.rankers.bradley_terry import fit
from curate.rankers.fas_bounds import pack
from curate.rankers.fas_components import minimum_orders
from curate.rankers.fas_cycles import best_packing
from curate.rankers.fas_program import branch_and_bound
from curate.rankers.fas_search import against, arrange, improve
from curate.rankers.feedback_arc_set import FeedbackArcSet
from curate.votes import VoteArrays
from tests.strategies import prompt_sets, random_wins, votes_from, votes_from_wins, wins_matrices


def order_costs(wins: np.ndarray) -> list[tuple[float, tuple[int, ...]]]:
    """Every order's cost, in plain Python."""
    n = len(wins)
    return [
        (sum(wins[b][a] for place, a in enumerate(order) for b in order[place + 1 :]), order)
        for order in permutations(range(n))
    ]


def plain_program(wins: np.ndarray) -> float:
    """The optimum of the linear ordering problem with all rows written out, by cvxpy and HiGHS."""
    import cvxpy as cp

    n = len(wins)
    x = cp.Variable((n, n), boolean=True)
    rows = [x[i, j] + x[j, i] == 1 for i in range(n) for j in range(i)]
    rows += [
        x[i, j] + x[j, k] + x[k, i] <= 2 for i in range(n) for j in range(n) for k in range(n) if len({i, j, k}) == 3
    ]
    rows += [x[i, i] == 0 for i in range(n)]
    problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(wins, x.T))), rows)
    problem.solve(solver=cp.HIGHS, mip_rel_gap=0)
    return float(problem.value)


@settings(max_examples=60, deadline=None)
@given(votes=prompt_sets(max_prompts=4, max_size=6))
def test_the_cost_is_the_least_of_all_permutations_and_proved(votes: VoteArrays) -> None:
    ranking = FeedbackArcSet()(votes)
    assert ranking.solved.all()
    np.testing.assert_array_equal(ranking.cost, ranking.bound)
    for graphs in votes.graphs:
        for p, wins in zip(graphs.prompts, graphs.wins, strict=True):
            assert ranking.cost[p] == min(order_costs(wins))[0]


@settings(max_examples=25, deadline=None)
@given(wins=wins_matrices(5, st.floats(1e-3, 1e3)))
def test_weights_off_every_grid_are_solved_within_the_stated_tolerance(wins: list[list[float]]) -> None:
    ranking = FeedbackArcSet()(votes_from_wins(wins))
    least = min(order_costs(np.array(wins)))[0]
    total = np.sum(wins)
    assert ranking.solved.all()
    assert ranking.bound[0] <= least * (1 + 1e-12)
    assert ranking.cost[0] == pytest.approx(least, abs=1e-7 * total)


@pytest.mark.parametrize(("size", "votes_per_pair", "seed"), [(7, 1.0, 0), (12, 1.0, 1), (14, 0.6, 2), (16, 3.0, 3)])
def test_the_cost_is_that_of_the_plain_integer_program(size: int, votes_per_pair: float, seed: int) -> None:
    wins = random_wins(size, votes_per_pair, seed)
    ranking = FeedbackArcSet()(votes_from_wins(wins))
    assert ranking.solved.all()
    assert ranking.cost[0] == pytest.approx(plain_program(np.array(wins)), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_without_subsets_the_integer_program_proves_the_same_cost(seed: int) -> None:
    votes = votes_from_wins(random_wins(14, 1.0, seed))
    by_program, by_subsets = FeedbackArcSet(max_states=1)(votes), FeedbackArcSet()(votes)
    assert by_program.solved.all()
    assert by_program.cost.tolist() == by_subsets.cost.tolist()


def test_branch_and_bound_branches_where_the_relaxation_has_a_gap() -> None:
    """The Paley tournament on 11 responses: its relaxation is fractional, its optimum is known by the subsets."""
    squares = {1, 3, 4, 5, 9}
    net = np.array([[1.0 if (j - i) % 11 in squares else -1.0 * (i != j) for j in range(11)] for i in range(11)])
    order, bound = minimum_orders(net[None], 1_000_000, 0)
    least = float(against(net[None], order)[0])
    assert bound[0] == least
    one = branch_and_bound(net, np.arange(11), 1)
    assert one.bound < one.cost
    full = branch_and_bound(net, np.arange(11), 5_000)
    assert full.bound == full.cost == least


def test_out_of_budget_the_bound_is_below_the_cost_and_it_is_not_solved() -> None:
    dice = np.random.default_rng(0)
    majority = np.triu(dice.integers(0, 2, (26, 26)), 1)
    votes = votes_from_wins((majority + np.tril(1 - majority.T, -1)).tolist())
    ranking = FeedbackArcSet(max_states=1, max_nodes=1)(votes)
    assert ranking.bound[0] < ranking.cost[0]
    assert ranking.solved.tolist() == [False]
    assert sorted(ranking.scores) == list(range(26))


def test_more_responses_than_a_word_has_bits_are_solved() -> None:
    votes = votes_from_wins(random_wins(70, 0.12, seed=0))
    ranking = FeedbackArcSet()(votes)
    assert ranking.solved.all()
    assert ranking.cost[0] > 0


@settings(max_examples=40, deadline=None)
@given(wins=wins_matrices(6))
def test_of_several_optima_it_is_the_one_that_agrees_most_with_bradley_terry(wins: list[list[float]]) -> None:
    votes = votes_from_wins(wins)
    strength = np.round(fit(np.array([wins]), 0.1).strength[0], 9)

    def disagreement(order: tuple[int, ...]) -> float:
        return sum(max(0.0, strength[b] - strength[a]) for p, a in enumerate(order) for b in order[p + 1 :])

    costs = order_costs(np.array(wins))
    least = min(costs)[0]
    expected = min(disagreement(order) for cost, order in costs if cost == least)
    found = tuple(np.argsort(-FeedbackArcSet()(votes).scores, kind="stable").tolist())
    assert disagreement(found) == pytest.approx(expected, abs=1e-6)


def test_a_circle_starts_at_the_strongest_whatever_the_names() -> None:
    """a, b, c run in a circle, three optima; b also beat d, so Bradley-Terry calls b the strongest."""
    rows = [("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "c", "a", "left"), ("p", "b", "d", "left")]
    scores = dict(zip("abcd", FeedbackArcSet()(votes_from(rows)).scores, strict=True))
    assert max(scores, key=lambda name: scores[name]) == "b"


def test_neighbours_that_nothing_separates_share_their_place() -> None:
    votes = votes_from([("p", "a", "b", "left"), ("p", "a", "c", "left"), ("p", "b", "c", "tie")])
    assert FeedbackArcSet()(votes).scores.tolist() == [2.0, 0.5, 0.5]


@settings(max_examples=30, deadline=None)
@given(wins=wins_matrices(6))
def test_packed_cycles_fit_into_the_weights_and_bound_the_cost(wins: list[list[float]]) -> None:
    net = np.array([wins]) - np.array([wins]).swapaxes(1, 2)
    arranged = arrange(net, improve(net, np.arange(len(wins))[None]))
    packing = pack(arranged)
    assert packing.bound[0] <= min(order_costs(np.maximum(net[0], 0)))[0]
    assert packing.bound[0] == packing.amount[0].sum()
    assert all(3 <= int(members).bit_count() <= 5 for members in packing.members[0][packing.amount[0] > 0])


@settings(max_examples=12, deadline=None)
@given(wins=wins_matrices(6))
def test_the_best_packing_bounds_the_cost_and_is_no_worse_than_the_greedy_one(wins: list[list[float]]) -> None:
    net = 2 * (np.array([wins]) - np.array([wins]).swapaxes(1, 2))
    arranged = arrange(net, improve(net, np.arange(len(wins))[None]))
    if not (arranged > 0).any():
        return
    best = best_packing(arranged[0]).bound[0]
    assert best <= min(order_costs(np.maximum(net[0], 0)))[0]
    assert best >= pack(arranged).bound[0] - 1e-3


def test_the_best_packing_closes_what_the_greedy_one_leaves_open() -> None:
    """A prompt with 18 responses whose greedy packing ends below its cost; the subsets get budget for neither."""
    open_to_greedy = [random_wins(18, 0.8, seed) for seed in range(6)]
    net = np.array([np.subtract(wins, np.transpose(wins)) for wins in open_to_greedy]) * 2
    order, by_subsets = minimum_orders(net, 200_000, 0)
    _, by_cycles = minimum_orders(net, 1, 1)
    _, greedy = minimum_orders(net, 1, 0)
    assert (greedy < by_subsets).any()
    assert (by_cycles >= greedy).all()
    assert (by_cycles > greedy).any()
    np.testing.assert_array_equal(by_subsets, against(net, order))


def test_no_exchange_of_blocks_is_left_that_helps() -> None:
    net = np.array([random_wins(9, 2, seed) for seed in range(3)])
    net = net - net.swapaxes(1, 2)
    order = improve(net, np.tile(np.arange(9), (3, 1)))
    cost = against(net, order)
    for a in range(9):
        for b in range(a + 1, 9):
            for c in range(b + 1, 10):
                swapped = np.concatenate([order[:, :a], order[:, b:c], order[:, a:b], order[:, c:]], axis=1)
                assert (against(net, swapped) >= cost).all()
