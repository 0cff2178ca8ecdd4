"""Rank intervals and the expected tau against single draws."""

from __future__ import annotations

import numpy as np
import pytest

from curate.rankers.base import ranks
from curate.rankers.hierarchical import Hierarchical
from curate.simulation.world import simulate_world
from curate.uncertainty import intervals
from curate.uncertainty.intervals import DRAWS, expected_tau, rank_counts, rank_intervals
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig


def world(prompts: int = 3, models: int = 6, **shape: float) -> VoteArrays:
    return simulate_world(SimulateConfig(prompts=prompts, models=models, annotators=20, **shape)).votes  # type: ignore[arg-type]


def plain_counts(
    mean: np.ndarray, root: np.ndarray, normal: np.ndarray, component: np.ndarray, copies: np.ndarray
) -> np.ndarray:
    """The reference: each draw is ranked separately, with every copy of a response."""
    batch, n = mean.shape
    counts = np.zeros((batch, n, copies.sum(axis=1).max()), dtype=np.int32)
    for b in range(batch):
        of = np.repeat(np.arange(n), copies[b])
        for z in normal.T:
            place = ranks(np.array(mean[b] + root[b] @ z)[of], component[b][of]) - 1
            counts[b, np.arange(n), place[np.unique(of, return_index=True)[1]]] += 1
    return counts


@pytest.mark.parametrize("most", [1, 3])
def test_rank_counts_equal_the_reference(most: int) -> None:
    rng = np.random.default_rng(0)
    square = rng.normal(0, 1, (4, 5, 5))
    root = np.linalg.cholesky(square @ square.swapaxes(1, 2))
    mean, normal = rng.normal(0, 1, (4, 5)), rng.normal(0, 1, (5, 50))
    component = np.array([[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 1, 2, 3, 4], [0, 0, 1, 1, 1]])
    copies = rng.integers(1, most + 1, (4, 5))
    inputs = mean, root, normal, component, copies
    assert (rank_counts(*inputs) == plain_counts(*inputs)).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "MAX_COMPARED", 0)  # by sorting, as for many responses
        assert (rank_counts(*inputs) == plain_counts(*inputs)).all()


def test_certain_strengths_have_intervals_of_one_rank() -> None:
    votes = world()
    strength = np.random.default_rng(0).normal(0, 1, len(votes.responses))
    sure = tuple(np.broadcast_to(1e-12 * np.eye(6), (3, 6, 6)) for _ in votes.graphs)
    low, high = rank_intervals(votes, strength, sure, np.zeros(len(strength), dtype=np.int64))
    assert (low == high).all()
    assert (low == ranks(strength, votes.response_prompt)).all()


def test_equal_strengths_can_have_any_rank() -> None:
    votes = world()
    covariance = tuple(np.broadcast_to(np.eye(6), (3, 6, 6)) for _ in votes.graphs)
    low, high = rank_intervals(votes, np.zeros(18), covariance, np.zeros(18, dtype=np.int64))
    assert (low == 1).all()
    assert (high == 6).all()


def test_a_common_shift_keeps_the_order() -> None:
    """An uncertain shift of all responses changes no rank."""
    votes = world()
    shift = tuple(np.broadcast_to(100 * np.ones((6, 6)) + 1e-6 * np.eye(6), (3, 6, 6)) for _ in votes.graphs)
    strength = np.tile(np.arange(6.0), 3)
    low, high = rank_intervals(votes, strength, shift, np.zeros(18, dtype=np.int64))
    assert (low == high).all()
    assert expected_tau(votes, strength, strength, shift) == pytest.approx([1, 1, 1])


def test_ranks_are_counted_within_components() -> None:
    votes = world()
    covariance = tuple(np.broadcast_to(np.eye(6), (3, 6, 6)) for _ in votes.graphs)
    component = np.tile([0, 0, 0, 1, 1, 2], 3)
    _, high = rank_intervals(votes, np.zeros(18), covariance, component)
    assert high.tolist() == [3, 3, 3, 2, 2, 1] * 3


def test_intervals_cover_the_true_rank_at_the_stated_rate() -> None:
    world = simulate_world(SimulateConfig(prompts=150, models=10, annotators=60, seed=5))
    votes, truth = world.votes, world.responses.rank.ravel()
    fit = Hierarchical().fit(votes)
    low, high = rank_intervals(votes, fit.strength, fit.covariance, np.zeros(len(truth), dtype=np.int64))
    held = ((low <= truth) & (truth <= high)).mean()
    assert 0.88 <= held <= 0.97  # 0.9 and what whole ranks add
    assert (high - low).mean() < 6


def test_expected_tau_is_the_mean_tau_of_draws() -> None:
    votes = world()
    fit = Hierarchical().fit(votes)
    scores = fit.strength + np.random.default_rng(0).normal(0, 0.5, len(fit.strength))
    drawn = []
    rng = np.random.default_rng(1)
    for _ in range(4_000):
        matrices = zip(votes.graphs[0].slots, fit.covariance[0], strict=True)
        theta = np.concatenate([rng.multivariate_normal(fit.strength[slots], matrix) for slots, matrix in matrices])
        i, j = np.triu_indices(6, 1)
        signs = [np.sign(x.reshape(3, 6)[:, i] - x.reshape(3, 6)[:, j]) for x in (theta, scores)]
        drawn.append((signs[0] * signs[1]).mean(axis=1))
    assert expected_tau(votes, scores, fit.strength, fit.covariance) == pytest.approx(np.mean(drawn, axis=0), abs=0.03)


def test_expected_tau_predicts_the_real_one() -> None:
    world = simulate_world(SimulateConfig(prompts=200, models=10, annotators=60, seed=7))
    votes, truth = world.votes, world.responses.strength.ravel()
    fit = Hierarchical().fit(votes)
    predicted = expected_tau(votes, fit.strength, fit.strength, fit.covariance).mean()
    real = expected_tau(votes, fit.strength, truth, tuple(1e-18 * np.ones_like(c) for c in fit.covariance)).mean()
    assert predicted == pytest.approx(real, abs=0.03)


def test_tied_scores_have_expected_tau_zero() -> None:
    votes = world()
    fit = Hierarchical().fit(votes)
    assert (expected_tau(votes, np.zeros(18), fit.strength, fit.covariance) == 0).all()
    assert DRAWS % 2 == 0  # every normal is drawn with its negative
