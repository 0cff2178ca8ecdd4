"""PageRank against networkx, and on win rates, where the number of comparisons has no effect."""

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


def by_networkx(wins: np.ndarray, damping: float) -> list[float]:
    """networkx.pagerank of the arcs from losers to winners."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(wins)))
    graph.add_weighted_edges_from((int(j), int(i), float(wins[i, j])) for i, j in np.argwhere(wins > 0))
    rank = nx.pagerank(graph, alpha=damping, tol=1e-13, max_iter=10_000)
    return [rank[i] for i in range(len(wins))]


@settings(max_examples=40, deadline=None)
@given(votes=prompt_sets(), damping=st.sampled_from([0.3, 0.85, 0.95]))
def test_scores_equal_networkx(votes: VoteArrays, damping: float) -> None:
    scores = PageRank(damping=damping)(votes).scores
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            np.testing.assert_allclose(scores[slots], by_networkx(wins, damping), atol=1e-8, rtol=0)


def test_a_prompt_of_19_responses_equals_networkx() -> None:
    wins = random_wins(19, 1.1, seed=4)
    scores = PageRank()(votes_from_wins(wins)).scores
    np.testing.assert_allclose(scores, by_networkx(np.array(wins), 0.85), atol=1e-8, rtol=0)


def test_votes_flow_from_loser_to_winner() -> None:
    loser, winner = PageRank()(votes_from([("p", "loser", "winner", "right")])).scores
    assert winner == pytest.approx(1.85 / 2.85)
    assert loser == pytest.approx(1 / 2.85)


def test_shares_of_a_prompt_sum_to_one() -> None:
    votes = votes_from_wins(random_wins(5, 1, seed=0), random_wins(7, 1, seed=1), [[0]])
    shares = np.bincount(votes.response_prompt, PageRank()(votes).scores)
    np.testing.assert_allclose(shares, 1)


def test_damping_outside_its_range_is_rejected() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        PageRank(damping=1.0)


# On win rates


def by_power_iteration(wins: np.ndarray, damping: float) -> list[float]:
    """Return the scores by two discrete-time walks with self-loops, iterated until they converge."""
    n = len(wins)
    logs = []
    for matrix in (wins, wins.T):
        rate = np.zeros((n, n))
        for i in range(n):
            for j in range(n):
                if matrix[i, j] + matrix[j, i] > 0:
                    rate[i, j] = (matrix[i, j] + 1) / (matrix[i, j] + matrix[j, i] + 2)
        leaving = rate.sum(axis=0)
        restart = (1 - damping) / damping * leaving.mean() if leaving.any() else 1.0
        scale = leaving.max() + restart
        step = rate / scale + np.diag(1 - (leaving + restart) / scale) + restart / scale / n
        probability = np.full(n, 1 / n)
        for _ in range(20_000):
            probability = step @ probability
        logs.append(np.log(probability))
    score: list[float] = ((logs[0] - logs[1]) / 2).tolist()
    return score


@settings(max_examples=10, deadline=None)
@given(votes=prompt_sets(), damping=st.sampled_from([0.3, 0.85, 0.95]))
def test_rate_pagerank_equals_power_iteration(votes: VoteArrays, damping: float) -> None:
    scores = RatePageRank(damping=damping)(votes).scores
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            np.testing.assert_allclose(scores[slots], by_power_iteration(wins, damping), atol=1e-8, rtol=0)


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_on_bradley_terry_rates_the_walk_recovers_the_strengths(share: float) -> None:
    """The theorem of rank centrality, up to the restart rate."""
    rng = np.random.default_rng(0)
    strength = np.sort(rng.normal(0, 1, 8))
    compared = np.triu(rng.random((8, 8)) < share, 1) | np.eye(8, k=1, dtype=np.bool_)
    rates = np.where(compared | compared.T, 1 / (1 + np.exp(strength - strength[:, None])), 0.0)[None]
    score = np.log(stationary(rates, 1 - 1e-9) / stationary(rates.swapaxes(1, 2), 1 - 1e-9))[0] / 2
    np.testing.assert_allclose(score - score.mean(), strength - strength.mean(), atol=1e-5)


def test_stationary_distribution_on_rates_sums_to_one() -> None:
    wins = np.array([random_wins(6, 1, seed=s) for s in range(4)])
    np.testing.assert_allclose(stationary(win_rates(wins), 0.85).sum(axis=1), 1)


def test_many_votes_on_one_pair_change_pagerank_but_not_rate_pagerank() -> None:
    """b beats c a hundred times; a beats b in few comparisons."""
    few = [("p", "a", "b", "left")] * 8 + [("p", "a", "b", "right")] * 2 + [("p", "a", "c", "left")] * 10
    many = [("p", "b", "c", "left")] * 100 + [("p", "b", "c", "right")] * 50
    a, b, _ = PageRank()(votes_from(few + many)).scores
    assert b > a
    a, b, c = RatePageRank()(votes_from(few + many)).scores
    assert a > b > c


def test_one_vote_is_less_certain_than_two() -> None:
    once, twice = (RatePageRank()(votes_from([("p", "a", "b", "left")] * k)).scores for k in (1, 2))
    assert 0 < once[0] - once[1] < twice[0] - twice[1]


def test_rate_pagerank_rejects_damping_outside_its_range() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        RatePageRank(damping=0.0)
