"""Planning: formulas against references, limits, and reproducibility."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.planning.information import (
    Plan,
    PosteriorBatch,
    after_plan,
    difference_variance,
    laplacian,
    misorder_probability,
    predict_accuracy,
    vote_information,
    with_precision,
    with_vote,
)
from curate.planning.planner import plan_votes, posteriors_of, random_votes
from curate.rankers.hierarchical import Annotators, Hierarchical
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig

NEVER = -40.0
"""A tie parameter at which ties never happen."""


def people(*discrimination: float, tie: float = NEVER) -> Annotators:
    """Annotators with these discriminations, without bias, with equal numbers of votes; no anonymous votes."""
    rate = np.array([*discrimination, 1.0])
    value = np.stack([rate, np.zeros(len(rate)), np.full(len(rate), tie)], axis=1)
    votes = np.array([1.0] * len(discrimination) + [0.0])
    one = np.ones(3)
    return Annotators(value, value, one, one, one, votes, votes, True)


def flat_posterior(prompts: int = 4, responses: int = 5, room: int = 3) -> PosteriorBatch:
    """Prompts with all strengths N(0, 1) and equal information of votes on all pairs."""
    shape = (prompts, responses, responses)
    off = ~np.eye(responses, dtype=np.bool_)
    return PosteriorBatch(
        prompts=np.arange(prompts),
        slots=np.arange(prompts * responses).reshape(prompts, responses),
        mean=np.zeros(shape[:2]),
        covariance=np.broadcast_to(np.eye(responses), shape).copy(),
        information=np.broadcast_to(0.2 * off, shape).copy(),
        room=np.broadcast_to(np.triu(np.full(shape[1:], room), 1), shape).copy(),
    )


def random_posterior(seed: int, prompts: int = 3, responses: int = 5) -> PosteriorBatch:
    """Prompts with random means, covariances and information."""
    rng = np.random.default_rng(seed)
    half = rng.normal(size=(prompts, responses, responses))
    information = rng.uniform(0.05, 0.4, half.shape) * ~np.eye(responses, dtype=np.bool_)
    return replace(
        flat_posterior(prompts, responses),
        mean=rng.normal(size=(prompts, responses)),
        covariance=half @ half.swapaxes(1, 2) / responses + 0.1 * np.eye(responses),
        information=(information + information.swapaxes(1, 2)) / 2,
    )


def judged(**changes: object) -> VoteArrays:
    config = {"prompts": 12, "models": 6, "annotators": 15, "votes_per_pair": 0.5, "seed": 1, **changes}
    return simulate_world(SimulateConfig.model_validate(config)).votes


# The formulas


@given(st.integers(0, 10_000), st.floats(0.001, 50.0))
def test_the_update_by_one_vote_equals_the_inverse_precision(seed: int, information: float) -> None:
    covariance = random_posterior(seed).covariance[0]
    e = np.array([0.0, 1.0, 0.0, -1.0, 0.0])
    whole = np.linalg.inv(np.linalg.inv(covariance) + information * np.outer(e, e))
    assert with_vote(covariance, information, 1, 3) == pytest.approx(whole, abs=1e-9)


@given(st.integers(0, 10_000))
def test_the_update_by_a_plan_equals_single_updates(seed: int) -> None:
    posterior = random_posterior(seed)
    plan = Plan(np.zeros(4, dtype=int), np.array([0, 2, 0, 0]), np.array([[0, 1], [1, 4], [0, 1], [2, 3]]))
    covariance = posterior.covariance.copy()
    for row, (i, j) in zip(plan.row, plan.pair, strict=True):
        covariance[row] = with_vote(covariance[row], posterior.information[row, i, j], i, j)
    assert after_plan(posterior, plan, 0) == pytest.approx(covariance, abs=1e-9)


def test_the_update_needs_no_inverse_of_the_covariance() -> None:
    """Two responses known to be the same distance from a third: the covariance has no inverse."""
    covariance = np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    added = np.zeros((1, 3, 3))
    added[0, 0, 2] = added[0, 2, 0] = 0.5
    variance = difference_variance(with_precision(covariance, laplacian(added)))[0]
    assert variance[0, 2] == pytest.approx(1 / (1 / 2 + 0.5))
    assert variance[1, 2] == pytest.approx(1 / (1 / 2 + 0.5))
    assert variance[0, 1] == 0


@pytest.mark.parametrize("gap", [0.0, 0.3, -1.2, 2.5])
@pytest.mark.parametrize("left", [1e-9, 0.2, 1.0, 1.7, 2.0])
def test_the_probability_of_a_wrong_order_equals_monte_carlo(gap: float, left: float) -> None:
    rng, count = np.random.default_rng(0), 400_000
    later = gap + np.sqrt(2.0 - left) * rng.standard_normal(count)
    truth = later + np.sqrt(left) * rng.standard_normal(count)
    if left == 2.0:
        later = np.full(count, gap if gap else 1.0)  # without information, the order of equals is arbitrary
    wrong = np.mean(np.sign(later) != np.sign(truth))
    assert misorder_probability(np.array(gap), np.array(2.0), np.array(left)) == pytest.approx(wrong, abs=4e-3)


@given(st.floats(-6, 6), st.floats(0.01, 30), st.floats(0, 1), st.floats(0, 1))
def test_more_information_never_increases_the_misorder_probability(
    gap: float, variance: float, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    chance = misorder_probability(np.array(gap), np.array(variance), variance * np.array([less, more]))
    assert 0 <= chance[0] <= chance[1] + 1e-12
    assert chance[1] <= 0.5 + 1e-12


@pytest.mark.parametrize("gap", [0.0, 1.0, -3.0])
@pytest.mark.parametrize("variance", [0.05, 1.0, 8.0])
@pytest.mark.parametrize(("who", "tie"), [((1.0,), NEVER), ((0.0, 0.7, 2.0), np.log(0.8))])
def test_vote_information_equals_numerical_integration(
    gap: float, variance: float, who: tuple[float, ...], tie: float
) -> None:
    """Reference: the mean variance of the posterior over outcomes and annotators, on a fine grid."""
    grid = gap + np.sqrt(variance) * np.linspace(-9, 9, 20_001)
    prior = np.exp(-((grid - gap) ** 2) / (2 * variance))
    prior /= prior.sum()
    kept = 0.0
    for rate in who:
        odds = np.stack([np.exp(rate * grid / 2), np.exp(-rate * grid / 2), np.full_like(grid, np.exp(tie))])
        for likelihood in odds / odds.sum(axis=0):
            joint = prior * likelihood
            total = joint.sum()
            mean = (joint @ grid) / total
            kept += (joint @ (grid - mean) ** 2) / len(who)
    information = vote_information(np.array([gap]), np.array([variance]), people(*who, tie=tie))[0]
    assert 1 / (1 / variance + information) == pytest.approx(kept, rel=0.01)


def test_votes_of_spammers_have_no_information() -> None:
    gap, variance = np.array([0.0, 2.0]), np.array([1.0, 3.0])
    assert vote_information(gap, variance, people(0.0)) == pytest.approx([0.0, 0.0], abs=1e-12)
    half = vote_information(gap, variance, people(0.0, 1.0))
    assert (half < vote_information(gap, variance, people(1.0))).all()
    assert (half > 0).all()


def test_a_known_difference_gains_no_information() -> None:
    assert vote_information(np.array([0.5]), np.array([0.0]), people(1.0))[0] == 0


# The choice


@pytest.mark.parametrize("votes", [1, 7, 40, 119, 120])
@pytest.mark.parametrize("focus", ["order", "best"])
def test_the_budget_is_spent_exactly_within_the_limit_per_pair(votes: int, focus: str) -> None:
    posterior = flat_posterior(room=3)
    plan = plan_votes([posterior], votes, focus=focus)
    pairs, times = np.unique(np.column_stack([plan.row, plan.pair]), axis=0, return_counts=True)
    assert len(plan.row) == votes
    assert times.max() <= 3
    assert (pairs[:, 1] < pairs[:, 2]).all()


@pytest.mark.parametrize("per_sitting", [1, 3])
def test_votes_of_a_sitting_share_their_errors_of_perception(per_sitting: int) -> None:
    """Reference: strengths and the errors of every sitting in one normal distribution."""
    posterior = replace(random_posterior(2, prompts=1), error_variance=0.8, per_sitting=per_sitting)
    pairs = [(0, 1), (1, 2), (0, 2), (0, 1), (3, 4), (0, 4), (1, 2)]
    sittings = -(-len(pairs) // per_sitting)
    precision = np.diag(np.r_[np.zeros(5), np.full(5 * sittings, 1 / 0.8)])
    precision[:5, :5] = np.linalg.inv(posterior.covariance[0])
    for v, (i, j) in enumerate(pairs):
        x, errors = np.zeros(len(precision)), 5 + 5 * (v // per_sitting)
        x[[i, errors + i]], x[[j, errors + j]] = 1.0, -1.0
        precision += posterior.information[0, i, j] * np.outer(x, x)
    plan = Plan(np.zeros(7, dtype=np.int64), np.zeros(7, dtype=np.int64), np.array(pairs))
    np.testing.assert_allclose(after_plan(posterior, plan, 0)[0], np.linalg.inv(precision)[:5, :5], atol=1e-10)


def test_a_plan_avoids_a_second_vote_on_a_response_in_a_sitting() -> None:
    """Ten responses alike, of which three pairs make a sitting: six different ones, with errors of perception."""
    flat = replace(flat_posterior(prompts=1, responses=10, room=1), per_sitting=3, error_variance=2.0)
    first = plan_votes([flat], 3).pair.ravel()
    assert len(np.unique(first)) == 6
    sure = replace(flat, error_variance=0.0)
    once, with_errors = (predict_accuracy([one], plan_votes([one], 9)).tau for one in (sure, flat))
    assert with_errors < once
    apart, together = replace(flat, per_sitting=1), replace(flat, per_sitting=9)
    plan = plan_votes([apart], 9)
    assert predict_accuracy([together], plan).tau < predict_accuracy([apart], plan).tau


def test_a_plan_stops_when_no_room_is_left() -> None:
    assert len(plan_votes([flat_posterior(room=3)], 10**9).row) == 4 * 10 * 3


def test_equal_prompts_get_equal_votes() -> None:
    posterior = flat_posterior(prompts=6, responses=5)
    plan = plan_votes([posterior], 6 * 10)
    of_prompt = np.bincount(plan.row, minlength=6)
    of_response = np.bincount((plan.row[:, None] * 5 + plan.pair).ravel(), minlength=30)
    assert of_prompt.tolist() == [10] * 6
    assert of_response.max() - of_response.min() <= 1


def test_the_first_vote_gains_most() -> None:
    """Reference: the predicted gain of each single vote."""
    posterior = random_posterior(3, prompts=1)
    posterior = replace(
        posterior, mean=posterior.mean / 10
    )  # near enough that each vote's own gain is no rounding error
    first = plan_votes([posterior], 1).pair[0].tolist()
    now = predict_accuracy([posterior], plan_votes([posterior], 0)).tau
    alone = {}
    for i in range(5):
        for j in range(i + 1, 5):
            plan = Plan(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.array([[i, j]]))
            alone[i, j] = predict_accuracy([posterior], plan).tau - now
    assert alone[tuple(first)] >= 0.9 * max(alone.values())


def test_a_smaller_plan_is_a_prefix_of_a_larger_one() -> None:
    posterior = random_posterior(5)
    small, large = plan_votes([posterior], 12), plan_votes([posterior], 50).first(12)
    assert small.row.tolist() == large.row.tolist()
    assert small.pair.tolist() == large.pair.tolist()


def test_every_prompt_gets_its_minimum_first() -> None:
    posterior = flat_posterior(prompts=3)
    sure = replace(posterior, covariance=posterior.covariance * np.array([1.0, 1.0, 1e-3])[:, None, None])
    assert 2 not in plan_votes([sure], 12).row
    least = plan_votes([sure], 12, min_per_prompt=2)
    assert (np.bincount(least.first(6).row, minlength=3) == 2).all()
    assert len(least.row) == 12


def test_prompts_of_several_sizes_and_of_one_response_are_planned_together() -> None:
    batches = [flat_posterior(2, 1), flat_posterior(3, 2), flat_posterior(2, 4)]
    plan = plan_votes(batches, 9 + 2 * 6 * 3)
    assert set(plan.batch.tolist()) == {1, 2}
    assert len(plan.row) == 9 + 36
    predicted = predict_accuracy(batches, plan)
    assert 0 < predicted.tau < 1
    assert predicted.best_of_4 > 0.25


def test_a_certain_pair_is_never_asked() -> None:
    votes = judged()
    fit = Hierarchical().fit(votes)
    [graphs] = votes.graphs
    strength = fit.strength.copy()
    far = graphs.slots[:, 0]
    strength[far] += 100.0
    [posterior] = posteriors_of(votes, replace(fit, strength=strength))
    assert (posterior.room[:, 0] == 0).all()
    plan = plan_votes([posterior], 10**6)
    assert len(plan.row)
    assert (plan.pair != 0).all()


def test_nothing_is_asked_if_everything_is_certain() -> None:
    votes = judged()
    fit = Hierarchical().fit(votes)
    sure = replace(fit, covariance=tuple(matrices * 1e-8 for matrices in fit.covariance))
    assert not len(plan_votes(posteriors_of(votes, sure), 100).row)


def test_nobody_gets_a_pair_twice() -> None:
    votes = judged(annotators=2, votes_per_pair=1.5, spammers=0.0)
    [posterior] = posteriors_of(votes, Hierarchical().fit(votes), max_per_pair=3, annotators=2)
    [graphs] = votes.graphs
    had = np.triu(graphs.wins + graphs.wins.swapaxes(1, 2), 1)
    assert set(np.unique(had)) == {0.0, 1.0, 2.0}
    assert (had + posterior.room <= 2).all()
    assert (posterior.room[had == 1] <= 1).all()
    [free] = posteriors_of(votes, Hierarchical().fit(votes), max_per_pair=3)
    assert free.room.max() == 3


def test_focus_best_asks_about_candidates_for_the_best() -> None:
    posterior = replace(
        flat_posterior(prompts=1), mean=np.array([[0.0, 4.0, 4.1, 0.1, 0.2]]), covariance=0.3 * np.eye(5)[None]
    )
    assert plan_votes([posterior], 2, focus="best").pair.tolist() == [[1, 2]] * 2
    assert not np.isin(plan_votes([posterior], 2).pair, [1, 2]).all()


def test_prompts_without_votes_are_planned_from_model_means() -> None:
    votes = judged(votes_per_pair=2.0)
    rest = votes.of_votes(votes.response_prompt[votes.left] != 0)
    [posterior] = posteriors_of(rest, Hierarchical().fit(rest))
    plan = plan_votes([posterior], 200)
    assert (plan.row == 0).sum() > 200 / 12


def test_plans_are_reproducible() -> None:
    votes = judged()
    one, other = (plan_votes(posteriors_of(votes, Hierarchical().fit(votes)), 60) for _ in range(2))
    assert one.pair.tobytes() == other.pair.tobytes()
    assert one.row.tobytes() == other.row.tobytes()


# Predicted accuracy


def test_random_votes_repeat_no_pair_before_all_have_one() -> None:
    posterior = flat_posterior(prompts=2, responses=4)
    plan = random_votes([posterior], 12, np.random.default_rng(0))
    assert len(np.unique(np.column_stack([plan.row, plan.pair]), axis=0)) == 12
    assert len(random_votes([posterior], 30, np.random.default_rng(0)).row) == 30
    assert len(random_votes([posterior], 0, np.random.default_rng(0)).row) == 0


def test_predicted_tau_increases_with_votes() -> None:
    posterior = random_posterior(1, prompts=20)
    plan = plan_votes([posterior], 300)
    tau = [predict_accuracy([posterior], plan.first(votes)).tau for votes in (0, 10, 100, 300)]
    assert tau == sorted(tau)
    assert predict_accuracy([posterior], random_votes([posterior], 300, np.random.default_rng(0))).tau < tau[-1]


def test_predicted_tau_without_votes_equals_the_posterior() -> None:
    posterior = random_posterior(2, prompts=6)
    rng, tau = np.random.default_rng(1), []
    for mean, covariance in zip(posterior.mean, posterior.covariance, strict=True):
        theta = rng.multivariate_normal(mean, covariance, 20_000)
        i, j = np.triu_indices(5, 1)
        tau.append((np.sign(theta[:, i] - theta[:, j]) * np.sign(mean[i] - mean[j])).mean())
    assert predict_accuracy([posterior], plan_votes([posterior], 0)).tau == pytest.approx(np.mean(tau), abs=0.005)


def test_predicted_top_1_of_two_responses_follows_from_tau() -> None:
    """With two responses, top-1 is the order of one pair."""
    posterior = replace(flat_posterior(prompts=1, responses=2), mean=np.array([[0.4, 0.0]]))
    plan = plan_votes([posterior], 3)
    predicted = predict_accuracy([posterior], plan)
    assert predicted.top1 == pytest.approx((1 + predicted.tau) / 2, abs=0.01)
    assert np.isnan(predicted.best_of_4)


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 100))
def test_the_predicted_gain_is_the_actual_gain_under_the_model(seed: int) -> None:
    """Strengths are drawn from the posterior, and votes measure differences with the precision that they should add."""
    rng = np.random.default_rng(seed)
    posterior = replace(
        random_posterior(seed, prompts=400),
        covariance=np.broadcast_to(random_posterior(seed).covariance[0], (400, 5, 5)).copy(),
    )
    plan = random_votes([posterior], 2000, rng)
    root = np.linalg.cholesky(posterior.covariance)
    truth = posterior.mean + (root @ rng.standard_normal((400, 5))[..., None])[..., 0]
    later, mean = (
        after_plan(posterior, plan, 0),
        np.linalg.solve(posterior.covariance, posterior.mean[..., None])[..., 0],
    )
    for row, (i, j) in zip(plan.row, plan.pair, strict=True):  # a vote as a measurement of the gap with this precision
        w = posterior.information[row, i, j]
        seen = truth[row, i] - truth[row, j] + rng.standard_normal() / np.sqrt(w)
        mean[row, i] += w * seen
        mean[row, j] -= w * seen
    after = (later @ mean[..., None])[..., 0]
    i, j = np.triu_indices(5, 1)
    tau = np.mean(np.sign(truth[:, i] - truth[:, j]) * np.sign(after[:, i] - after[:, j]))
    assert predict_accuracy([posterior], plan).tau == pytest.approx(tau, abs=0.04)
