"""The mixture prior of the joint ranker: against exact enumeration, and on worlds of heaps, heavy tails and neither."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from curate.rankers import Hierarchical
from curate.rankers.hierarchical.columns import Columns, columns_of
from curate.rankers.hierarchical.mixture import Kind, Mixture
from curate.rankers.hierarchical.propagation import Belief, Found, Quadratic, _evidence, first_sites, one_pass
from curate.simulation.world import World, simulate_world
from curate.uncertainty.posterior import best_probability
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from schemas.config import SimulateConfig

HEAPS = Mixture(
    "heaps",
    center=np.array([-1.2, 1.6]),
    variance=np.array([0.2, 0.2]),
    share=np.array([0.3, 0.6, 0.5]),
    common=0.5,
    shift=np.array([0.2, -0.2, 0.0]),
    shift_variance=0.1,
    shift_left=np.zeros(3),
)
TAILS = replace(HEAPS, kind="tails", center=np.zeros(2), variance=np.array([0.3, 3.0]), share=np.full(3, 0.25))


def world(**config: object) -> World:
    return simulate_world(SimulateConfig.model_validate({"prompts": 120, "annotators": 60, "seed": 3, **config}))


HEAPED = world(video=True)


def small() -> tuple[Columns, Quadratic]:
    """Two prompts of three and four responses of two models and one unknown, and some likelihood of differences."""
    votes = VoteArrays(
        left=np.array([0, 1, 3, 4], np.int32),
        right=np.array([1, 2, 5, 6], np.int32),
        outcome=np.array([LEFT, RIGHT, LEFT, LEFT], np.int8),
        weight=np.ones(4),
        sides_known=np.ones(4, np.bool_),
        annotator=np.zeros(4, np.int32),
        group=np.full(4, -1, np.int32),
        response_prompt=np.array([0, 0, 0, 1, 1, 1, 1], np.int32),
        response_model=np.array([0, 1, -1, 1, 0, 0, -1], np.int32),
        prompts=("p", "q"),
        responses=tuple("abcdefg"),
        models=("m", "n"),
        annotators=("x",),
    )
    columns, rng = columns_of(votes), np.random.default_rng(1)
    pull, flat = np.empty(7), np.empty(columns.cells)
    for batch in columns.batches:
        n = batch.shape[1]
        information = rng.uniform(0.3, 1.2, (n, n))
        information = np.triu(information, 1) + np.triu(information, 1).T
        flat[batch.cells] = (np.diag(information.sum(axis=1)) - information).ravel()
        lean = rng.normal(0, 1.5, n)
        pull[batch.responses[0]] = lean - lean.mean()
    return columns, Quadratic(pull, flat)


def by_enumeration(mixture: Mixture, columns: Columns, votes: Quadratic) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and flat covariances of all, and the log-evidence: sums over every way to deal out the heaps."""
    mean, covariance, evidence = np.empty(7), np.empty(columns.cells), 0.0
    centers, shares = mixture.of(columns)
    for batch in columns.batches:
        rows = batch.responses[0]
        information = votes.information[batch.cells].reshape(batch.shape[1:])
        logs, means, seconds = [], [], []
        for dealt in product((0, 1), repeat=len(rows)):
            heap = np.array(dealt)
            center, spread = centers[rows, heap], mixture.variance[heap]
            total = information + np.diag(1 / spread)
            drawn = votes.pull[rows] + center / spread
            at = np.linalg.solve(total, drawn)
            log = np.log(shares[rows, heap]).sum() + (drawn @ at - (center**2 / spread).sum()) / 2
            logs.append(log - (np.linalg.slogdet(total)[1] + np.log(spread).sum()) / 2)
            means.append(at)
            seconds.append(np.linalg.inv(total) + np.outer(at, at))
        weight = np.exp(np.array(logs) - max(logs))
        evidence += max(logs) + np.log(weight.sum())
        weight /= weight.sum()
        mean[rows] = weight @ np.array(means)
        second = np.einsum("h,hij->ij", weight, np.array(seconds))
        covariance[batch.cells] = (second - np.outer(mean[rows], mean[rows])).ravel()
    return mean, covariance, evidence


def gaps(columns: Columns, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the gap of every two responses of a prompt."""
    means, deviations = [], []
    for batch in columns.batches:
        i, j = np.triu_indices(batch.shape[1], 1)
        at, of = mean[batch.responses[0]], covariance[batch.cells].reshape(batch.shape[1:])
        means.append(at[i] - at[j])
        deviations.append(np.sqrt(of[i, i] + of[j, j] - 2 * of[i, j]))
    return np.concatenate(means), np.concatenate(deviations)


@pytest.mark.parametrize(("mixture", "near"), [(HEAPS, 0.4), (TAILS, 0.01)], ids=["heaps", "tails"])
def test_propagation_is_near_the_exact_sum_over_all_heaps(mixture: Mixture, near: float) -> None:
    """Two heaps of few responses are the worst case: all may be in the one or all in the other."""
    columns, votes = small()
    start = Belief(np.zeros(7), columns.diagonal())
    found = Found(mixture, first_sites(mixture, columns), start, 0, np.full(7, np.inf))
    for _ in range(100):
        found = one_pass(found, columns, votes, learn=False)
    assert found.moved.max() < 1e-9
    mean, covariance, evidence = by_enumeration(mixture, columns, votes)
    gap, deviation = gaps(columns, found.belief.strength, found.belief.covariance)
    true_gap, true_deviation = gaps(columns, mean, covariance)
    np.testing.assert_array_less(np.abs(gap - true_gap), near * true_deviation)
    np.testing.assert_allclose(deviation, true_deviation, rtol=near)
    assert evidence - 2 * near < _evidence(found, columns, votes) < evidence + near  # never claims much too much


def test_one_normal_twice_is_exact() -> None:
    columns, votes = small()
    mixture = replace(HEAPS, center=np.zeros(2), variance=np.full(2, 0.7))
    start = Belief(np.zeros(7), columns.diagonal())
    found = Found(mixture, first_sites(mixture, columns), start, 0, np.full(7, np.inf))
    for _ in range(60):
        found = one_pass(found, columns, votes, learn=False)
    mean, covariance, evidence = by_enumeration(mixture, columns, votes)
    np.testing.assert_allclose(found.belief.strength, mean, atol=1e-9)
    np.testing.assert_allclose(found.belief.covariance, covariance, atol=1e-9)
    assert _evidence(found, columns, votes) == pytest.approx(evidence, abs=1e-9)


def stated_and_true(strength: np.ndarray, covariance: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Mean P(best of four) of the leaders of random sets of four, and the share that truly are the best."""
    prompts, models = truth.shape
    prompt = np.repeat(np.arange(prompts), 8)[:, None]
    sets = np.argsort(np.random.default_rng(0).random((prompts * 8, models)), axis=1)[:, :4]
    best = strength[prompt, sets].argmax(axis=1)
    within = covariance[prompt[:, :, None], sets[:, :, None], sets[:, None, :]]
    return float(best_probability(strength[prompt, sets], within, best).mean()), float(
        (truth[prompt, sets].argmax(axis=1) == best).mean()
    )


def test_right_and_wrong_answers_are_found_to_be_two_heaps_and_the_best_is_as_sure_as_it_should_be() -> None:
    truth = HEAPED.responses.strength
    fit = Hierarchical().fit(HEAPED.votes)
    assert fit.mixture is not None
    assert fit.mixture.kind == "heaps"
    assert np.ptp(fit.mixture.center) == pytest.approx(2.8, abs=0.4)  # 3 logits of an annotator of discrimination 1
    assert fit.converged.all()
    stated, true = stated_and_true(fit.strength.reshape(truth.shape), fit.covariance[0], truth)
    assert abs(stated - true) < 0.04
    normal = Hierarchical(mixtures=False).fit(HEAPED.votes)
    stated, true = stated_and_true(normal.strength.reshape(truth.shape), normal.covariance[0], truth)
    assert stated - true > 0.05


@pytest.mark.parametrize(
    ("config", "kind"),
    [({}, None), ({"interaction": 0.3}, None), ({"tails": "heavy", "prompts": 300, "seed": 0}, "tails")],
    ids=["normal", "little of its own", "heavy"],
)
def test_a_mixture_is_taken_only_where_there_is_one(config: dict[str, object], kind: Kind | None) -> None:
    mixture = Hierarchical().fit(world(**config).votes).mixture
    assert (mixture.kind if mixture else None) == kind


def test_reversed_votes_reverse_the_strengths_in_heaps() -> None:
    votes = HEAPED.votes
    outcome = np.where(votes.outcome == LEFT, RIGHT, np.where(votes.outcome == RIGHT, LEFT, votes.outcome))
    unseen = replace(votes, sides_known=np.zeros(len(votes.left), np.bool_))
    fit, turned = Hierarchical().fit(unseen), Hierarchical().fit(replace(unseen, outcome=outcome))
    assert fit.mixture is not None
    assert turned.mixture is not None
    np.testing.assert_allclose(turned.mixture.center[::-1], -fit.mixture.center, atol=1e-3)
    np.testing.assert_allclose(turned.strength, -fit.strength, atol=5e-3)
