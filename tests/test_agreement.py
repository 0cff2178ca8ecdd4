"""Agreement of orders against scipy and against enumeration; coverage of votes against networkx."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from curate.evaluation.agreement import best_of, kendall_tau, top1
from curate.votes.arrays import VoteArrays
from curate.votes.coverage import components, cyclic_triads, pairs_covered
from tests.strategies import prompt_sets, votes_from, votes_from_wins

ONE = np.array([0, 4])


@st.composite
def score_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two scores with many ties, and the offsets of a few prompts."""
    sizes = draw(st.lists(st.integers(0, 8), min_size=1, max_size=4))
    total = sum(sizes)
    scores = st.lists(st.integers(0, 4), min_size=total, max_size=total)
    a, b = (np.array(draw(scores), dtype=np.float64) for _ in range(2))
    return a, b, np.cumsum([0, *sizes])


def best_of_twin(scores: np.ndarray, truth: np.ndarray, k: int) -> float:
    """Enumerate every subset and every tied best response of it."""
    shares = []
    for subset in combinations(range(len(scores)), k):
        first = [i for i in subset if scores[i] == max(scores[list(subset)])]
        shares.append(sum(truth[i] == max(truth[list(subset)]) for i in first) / len(first))
    return float(np.mean(shares)) if shares else float("nan")


@settings(max_examples=60, deadline=None)
@given(score_pairs())
def test_kendall_tau_agrees_with_scipy(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    a, b, offsets = case
    for tau, start, end in zip(kendall_tau(a, b, offsets), offsets[:-1], offsets[1:], strict=True):
        undefined = end - start < 2 or np.ptp(a[start:end]) == 0 or np.ptp(b[start:end]) == 0
        expected = np.nan if undefined else kendalltau(a[start:end], b[start:end]).statistic
        assert tau == pytest.approx(expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(score_pairs(), st.integers(2, 5))
def test_best_of_agrees_with_enumeration(case: tuple[np.ndarray, np.ndarray, np.ndarray], k: int) -> None:
    a, b, offsets = case
    for chance, start, end in zip(best_of(a, b, offsets, k=k), offsets[:-1], offsets[1:], strict=True):
        assert chance == pytest.approx(best_of_twin(a[start:end], b[start:end], k), nan_ok=True)


def test_top1_counts_a_tied_first_rank_by_its_share() -> None:
    truth = np.array([4.0, 3.0, 2.0, 1.0])
    assert top1(np.array([9.0, 1.0, 1.0, 1.0]), truth, ONE).tolist() == [1.0]
    assert top1(np.array([9.0, 9.0, 9.0, 1.0]), truth, ONE).tolist() == [pytest.approx(1 / 3)]
    assert top1(np.array([1.0, 9.0, 1.0, 1.0]), truth, ONE).tolist() == [0.0]
    assert top1(np.array([9.0, 1.0, 1.0, 1.0]), np.array([4.0, 4.0, 2.0, 1.0]), ONE).tolist() == [1.0]


def test_a_cycle_of_majorities_is_one_cyclic_triad_and_ties_are_none() -> None:
    circle = votes_from([("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "c", "a", "left")])
    broken = votes_from([("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "c", "a", "tie")])
    assert cyclic_triads(circle).tolist() == [1]
    assert cyclic_triads(broken).tolist() == [0]


@settings(max_examples=30, deadline=None)
@given(prompt_sets(max_size=7))
def test_triads_pairs_and_components_agree_with_networkx(votes: VoteArrays) -> None:
    label, count = components(votes)
    for graphs in votes.graphs:
        for p, slots, wins in zip(graphs.prompts, graphs.slots, graphs.wins, strict=True):
            n = len(wins)
            triads = sum(
                (wins[i, j] > wins[j, i] and wins[j, k] > wins[k, j] and wins[k, i] > wins[i, k])
                or (wins[i, j] < wins[j, i] and wins[j, k] < wins[k, j] and wins[k, i] < wins[i, k])
                for i, j, k in combinations(range(n), 3)
            )
            assert cyclic_triads(votes)[p] == triads
            graph = nx.from_numpy_array(wins + wins.T)
            assert pairs_covered(votes)[p] == graph.number_of_edges()
            parts = list(nx.connected_components(graph))
            assert count[p] == len(parts)
            assert sorted(len(part) for part in parts) == sorted(np.bincount(label[slots]).tolist())
            assert all(len(set(label[slots][list(part)])) == 1 for part in parts)


def test_components_are_numbered_by_size_then_votes_then_position() -> None:
    rows = [("p", "a", "b", "left"), ("p", "c", "d", "left"), ("p", "c", "d", "tie"), ("p", "e", "f", "left")]
    label, count = components(votes_from(rows, silent=[("p", "z")]))
    assert label.tolist() == [1, 1, 0, 0, 2, 2, 3]
    assert count.tolist() == [4]
    larger, _ = components(votes_from([*rows, ("p", "z", "f", "left")]))
    assert larger.tolist() == [2, 2, 1, 1, 0, 0, 0]


def test_a_prompt_without_votes_has_counts_of_0() -> None:
    votes = votes_from_wins([[0, 0], [0, 0]])
    assert pairs_covered(votes).tolist() == [0]
    assert components(votes)[1].tolist() == [2]
