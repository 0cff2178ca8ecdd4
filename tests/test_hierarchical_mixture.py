"""Mixture priors of the hierarchical ranker: against exact enumeration, and on worlds with and without a mixture."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, Mixture
from curate.rankers.hierarchical.perception import Sites
from curate.rankers.hierarchical.posterior import EPState, Normal, ep_evidence, ep_pass, start_ep
from curate.simulation.world import World, simulate_world
from curate.uncertainty.posterior import best_probability
from curate.votes.arrays import LEFT, RIGHT
from curate.votes.blocks import VoteData, vote_data
from schemas.config import SimulateConfig
from tests.strategies import votes_from

TWO = Mixture(
    center=np.array([-1.2, 1.6]),
    variance=0.2,
    share=np.array([0.3, 0.6, 0.5]),
    common_share=0.5,
    model_mean=np.array([0.2, -0.2]),
    mean_variance=0.1,
)


def world(**config: object) -> World:
    return simulate_world(SimulateConfig.model_validate({"prompts": 100, "annotators": 60, "seed": 3, **config}))


@pytest.fixture(scope="module")
def right_or_wrong() -> tuple[World, HierarchicalFit]:
    made = world(video=True)
    return made, Hierarchical().fit(made.votes)


def small() -> tuple[VoteData, Sites]:
    """Two prompts of three and four responses of two models and one unknown, and some likelihood of differences."""
    rows = [("p", a, b, "left") for a, b in ("ab", "bc")] + [("q", a, b, "left") for a, b in ("de", "ef", "fg")]
    votes = replace(votes_from(rows), response_model=np.array([0, 1, -1, 1, 0, 0, -1]), models=("m", "n"))
    data, rng = vote_data(votes), np.random.default_rng(1)
    linear, flat = np.empty(7), np.empty(data.cells)
    for block in data.blocks:
        n = block.responses.shape[1]
        weight = np.triu(rng.uniform(0.3, 1.2, (n, n)), 1)
        weight += weight.T
        block.of(flat)[:] = np.diag(weight.sum(axis=1)) - weight
        lean = rng.normal(0, 1.5, n)
        linear[block.responses[0]] = lean - lean.mean()
    return data, Sites(linear, flat)


def by_enumeration(mixture: Mixture, data: VoteData, votes: Sites) -> tuple[np.ndarray, np.ndarray, float]:
    """Means and flat covariances, and the log-evidence: sums over every assignment of responses to components."""
    mean, covariance, evidence = np.empty(7), np.empty(data.cells), 0.0
    centers, shares = mixture.components(data)
    for block in data.blocks:
        rows, logs, means, seconds = block.responses[0], [], [], []
        for assigned in product((0, 1), repeat=len(rows)):
            component = np.array(assigned)
            center, variance = centers[rows, component], np.full(len(rows), mixture.variance)
            total = block.of(votes.information)[0] + np.diag(1 / variance)
            linear = votes.linear[rows] + center / variance
            at = np.linalg.solve(total, linear)
            log = np.log(shares[rows, component]).sum() + (linear @ at - (center**2 / variance).sum()) / 2
            logs.append(log - (np.linalg.slogdet(total)[1] + np.log(variance).sum()) / 2)
            means.append(at)
            seconds.append(np.linalg.inv(total) + np.outer(at, at))
        weight = np.exp(np.array(logs) - max(logs))
        evidence += max(logs) + np.log(weight.sum())
        weight /= weight.sum()
        mean[rows] = weight @ np.array(means)
        second = np.einsum("h,hij->ij", weight, np.array(seconds))
        block.of(covariance)[0] = second - np.outer(mean[rows], mean[rows])
    return mean, covariance, evidence


def propagated(mixture: Mixture, data: VoteData, votes: Sites) -> EPState:
    """The fixed point of expectation propagation."""
    covariance = np.zeros(data.cells)
    covariance[data.diagonal] = 1.0
    state = start_ep(mixture, data, Normal(np.zeros(7), covariance))
    for _ in range(100):
        state = ep_pass(state, data, votes, fit_mixture=False)
    assert state.change.max() < 1e-9
    return state


def gaps(data: VoteData, mean: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the gap of every two responses of a prompt."""
    means, deviations = [], []
    for block in data.blocks:
        i, j = np.triu_indices(block.responses.shape[1], 1)
        at, of = mean[block.responses[0]], block.of(covariance)[0]
        means.append(at[i] - at[j])
        deviations.append(np.sqrt(of[i, i] + of[j, j] - 2 * of[i, j]))
    return np.concatenate(means), np.concatenate(deviations)


@pytest.mark.parametrize(("apart", "near"), [(1.0, 0.4), (0.3, 0.05)], ids=["far apart", "near each other"])
def test_expectation_propagation_is_near_the_exact_sum_over_all_assignments(apart: float, near: float) -> None:
    """Components far apart of few responses are the worst case: all may be in one or all in the other."""
    data, votes = small()
    mixture = replace(TWO, center=apart * TWO.center)
    state = propagated(mixture, data, votes)
    mean, covariance, evidence = by_enumeration(mixture, data, votes)
    gap, deviation = gaps(data, *state.posterior)
    true_gap, true_deviation = gaps(data, mean, covariance)
    np.testing.assert_array_less(np.abs(gap - true_gap), near * true_deviation)
    np.testing.assert_allclose(deviation, true_deviation, rtol=near)
    assert evidence - 2 * near < ep_evidence(state, data, votes) < evidence + near  # never much too high


def test_two_equal_components_are_exact() -> None:
    data, votes = small()
    mixture = replace(TWO, center=np.zeros(2), variance=0.7)
    state = propagated(mixture, data, votes)
    mean, covariance, evidence = by_enumeration(mixture, data, votes)
    np.testing.assert_allclose(state.posterior.mean, mean, atol=1e-9)
    np.testing.assert_allclose(state.posterior.covariance, covariance, atol=1e-9)
    assert ep_evidence(state, data, votes) == pytest.approx(evidence, abs=1e-9)


def stated_and_true(fit: HierarchicalFit, truth: np.ndarray) -> tuple[float, float]:
    """Mean P(best of four) of the leaders of random sets of four, and the share that truly are the best."""
    (prompts, models), strength = truth.shape, fit.strength.reshape(truth.shape)
    prompt = np.repeat(np.arange(prompts), 8)[:, None]
    sets = np.argsort(np.random.default_rng(0).random((prompts * 8, models)), axis=1)[:, :4]
    best = strength[prompt, sets].argmax(axis=1)
    within = fit.covariance[0][prompt[:, :, None], sets[:, :, None], sets[:, None, :]]
    stated = best_probability(strength[prompt, sets], within, best)
    return float(stated.mean()), float((truth[prompt, sets].argmax(axis=1) == best).mean())


def test_right_and_wrong_answers_are_a_two_component_mixture_and_calibrated(
    right_or_wrong: tuple[World, HierarchicalFit],
) -> None:
    made, fit = right_or_wrong
    assert fit.mixture is not None
    assert np.ptp(fit.mixture.center) == pytest.approx(2.8, abs=0.4)  # 3 logits of an annotator of discrimination 1
    assert fit.converged.all()
    stated, true = stated_and_true(fit, made.responses.strength)
    assert abs(stated - true) < 0.04
    stated, true = stated_and_true(Hierarchical(mixtures=False).fit(made.votes), made.responses.strength)
    assert stated - true > 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {},
        {"interaction_sd": 0.3},
        {"prompts": 1200, "votes_per_pair": 0.15},
        {"strength_distribution": "heavy-tailed"},
    ],
    ids=["normal", "little variance around model means", "few votes on many prompts", "heavy-tailed"],
)
def test_a_mixture_is_not_selected_where_there_is_none(config: dict[str, object]) -> None:
    assert Hierarchical().fit(world(**config).votes).mixture is None


@pytest.mark.parametrize("seed", range(3))
def test_one_prompt_has_no_mixture_and_its_intervals_cover_the_truth(seed: int) -> None:
    """With one response per model, model means and shares would explain every strength, and no uncertainty be left."""
    made = simulate_world(SimulateConfig(prompts=1, models=40, annotators=40, votes_per_pair=2, seed=seed))
    fit = Hierarchical().fit(made.votes)
    assert fit.mixture is None
    i, j = np.triu_indices(40, 1)
    truth, (covariance,) = made.responses.strength[0], fit.covariance[0]
    variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
    away = (fit.strength[i] - fit.strength[j]) - (truth[i] - truth[j])
    assert np.mean(np.abs(away) < 1.645 * np.sqrt(variance)) > 0.75


def test_reversed_votes_reverse_the_strengths_under_a_mixture(right_or_wrong: tuple[World, HierarchicalFit]) -> None:
    votes = right_or_wrong[0].votes
    outcome = np.where(votes.outcome == LEFT, RIGHT, np.where(votes.outcome == RIGHT, LEFT, votes.outcome))
    unknown = replace(votes, sides_known=np.zeros(len(votes.left), np.bool_))
    fit, other = Hierarchical().fit(unknown), Hierarchical().fit(replace(unknown, outcome=outcome))
    assert fit.mixture is not None
    assert other.mixture is not None
    np.testing.assert_allclose(other.mixture.center[::-1], -fit.mixture.center, atol=1e-3)
    np.testing.assert_allclose(other.strength, -fit.strength, atol=5e-3)
