"""PageRank against networkx, dangling responses included; and on win rates, which comparison counts must not move."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.rankers.pagerank import PageRank
from curate.rankers.rate_pagerank import RatePageRank, stationary, win_rates
from curate.votes.arrays import VoteArrays
from tests.strategies import prompt_sets, random_wins, votes_from, votes_from_wins


def slow_twin(wins: np.ndarray, damping: float) -> list[float]:
    """networkx.pagerank of the arcs from losers to winners."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(wins)))
    graph.add_weighted_edges_from((int(j), int(i), float(wins[i, j])) for i, j in np.argwhere(wins > 0))
    rank = nx.pagerank(graph, alpha=damping, tol=1e-13, max_iter=10_000)
    return [rank[i] for i in range(len(wins))]


@settings(max_examples=40, deadline=None)
@given(votes=prompt_sets(), damping=st.sampled_from([0.3, 0.85, 0.95]))
def test_it_is_networkx_pagerank(votes: VoteArrays, damping: float) -> None:
    scores = PageRank(damping=damping)(votes).scores
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            np.testing.assert_allclose(scores[slots], slow_twin(wins, damping), atol=1e-8, rtol=0)


def test_it_is_networkx_pagerank_on_a_prompt_of_nineteen() -> None:
    wins = random_wins(19, 1.1, seed=4)
    scores = PageRank()(votes_from_wins(wins)).scores
    np.testing.assert_allclose(scores, slow_twin(np.array(wins), 0.85), atol=1e-8, rtol=0)


def test_votes_flow_from_loser_to_winner() -> None:
    loser, winner = PageRank()(votes_from([("p", "loser", "winner", "right")])).scores
    assert winner == pytest.approx(1.85 / 2.85)
    assert loser == pytest.approx(1 / 2.85)


def test_shares_of_a_prompt_sum_to_one() -> None:
    votes = votes_from_wins(random_wins(5, 1, seed=0), random_wins(7, 1, seed=1), [[0]])
    shares = np.bincount(votes.response_prompt, PageRank()(votes).scores)
    np.testing.assert_allclose(shares, 1)


def test_damping_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        PageRank(damping=1.0)


# On win rates


def rate_twin(wins: np.ndarray, damping: float) -> list[float]:
    """The score by two walks in discrete time, stepped until they rest: some of the time they stay where they are."""
    n = len(wins)
    logs = []
    for matrix in (wins, wins.T):
        rate = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if matrix[i, j] + matrix[j, i] > 0:
                    rate[i, j] = (matrix[i, j] + 1) / (matrix[i, j] + matrix[j, i] + 2)
        leaving = rate.sum(axis=0)
        afresh = (1 - damping) / damping * leaving.mean() if leaving.any() else 1.0
        pace = leaving.max() + afresh
        step = rate / pace + np.diag(1 - (leaving + afresh) / pace) + afresh / pace / n
        chance = np.full(n, 1 / n)
        for _ in range(20_000):
            chance = step @ chance
        logs.append(np.log(chance))
    score: list[float] = ((logs[0] - logs[1]) / 2).tolist()
    return score


@settings(max_examples=10, deadline=None)
@given(votes=prompt_sets(), damping=st.sampled_from([0.3, 0.85, 0.95]))
def test_rate_pagerank_is_two_walks(votes: VoteArrays, damping: float) -> None:
    scores = RatePageRank(damping=damping)(votes).scores
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            np.testing.assert_allclose(scores[slots], rate_twin(wins, damping), atol=1e-8, rtol=0)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_on_rates_of_bradley_terry_the_walk_finds_the_strengths_whichever_pairs_were_compared(share: float) -> None:
    """Rank centrality's theorem, to the share of fresh starts; counts from 1 to 1000 a pair do not matter."""
    dice = np.random.default_rng(0)
    strength = np.sort(dice.normal(0, 1, 8))
    compared = np.triu(dice.random((8, 8)) < share, 1) | np.eye(8, k=1, dtype=np.bool_)
    rates = np.where(compared | compared.T, 1 / (1 + np.exp(strength - strength[:, None])), 0.0)[None]
    score = np.log(stationary(rates, 1 - 1e-9) / stationary(rates.swapaxes(1, 2), 1 - 1e-9))[0] / 2
    np.testing.assert_allclose(score - score.mean(), strength - strength.mean(), atol=1e-5)


def test_chances_of_the_walk_on_rates_sum_to_one() -> None:
    wins = np.array([random_wins(6, 1, seed=s) for s in range(4)])
    np.testing.assert_allclose(stationary(win_rates(wins), 0.85).sum(axis=1), 1)


def test_votes_on_a_lopsided_pair_lift_pagerank_and_not_rate_pagerank() -> None:
    """The weak b beats the weaker c a hundred times; a beat b, and was compared little."""
    few = [("p", "a", "b", "left")] * 8 + [("p", "a", "b", "right")] * 2 + [("p", "a", "c", "left")] * 10
    many = [("p", "b", "c", "left")] * 100 + [("p", "b", "c", "right")] * 50
    a, b, _ = PageRank()(votes_from(few + many)).scores
    assert b > a
    a, b, c = RatePageRank()(votes_from(few + many)).scores
    assert a > b > c


def test_one_vote_is_less_certain_than_two() -> None:
    once, twice = (RatePageRank()(votes_from([("p", "a", "b", "left")] * k)).scores for k in (1, 2))
    assert 0 < once[0] - once[1] < twice[0] - twice[1]


def test_rate_pagerank_refuses_damping_outside_its_range() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        RatePageRank(damping=0.0)
