"""PageRank against networkx, dangling responses included."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.rankers.pagerank import PageRank
from curate.votes import VoteArrays
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
