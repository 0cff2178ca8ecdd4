"""The hierarchical ranker: derivatives and posterior against plain references, symmetries, missing data, accuracy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.evaluation.agreement import kendall_tau
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, log_probability
from curate.rankers.hierarchical import ranker as module
from curate.rankers.hierarchical.model import MAX_DEVIATION, Likelihood, derivatives, quadrature
from curate.rankers.hierarchical.posterior import Normal, newton_step
from curate.rankers.hierarchical.priors import Hyperprior, PromptEffect, StrengthPrior, variance_step
from curate.simulation.world import World, draw_outcomes, simulate_world
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import vote_data
from schemas.config import SimulateConfig
from tests.strategies import prompt_sets, random_wins, relabelled, reversed_votes, votes_from, votes_from_wins

ALONE = votes_from_wins(random_wins(8, 2.0, seed=3))
SMALL = replace(
    votes_from(
        [
            ("p", "a", "b", "left"),
            ("p", "b", "c", "tie"),
            ("p", "a", "c", "left", 2.0),
            ("q", "x", "y", "right"),
            ("q", "x", "y", "tie"),
            ("r", "u", "v", "left"),
            ("r", "v", "w", "both_bad"),
        ]
    ),
    response_model=np.array([0, 1, 2, 0, -1, 1, 1, 2]),
    models=("one", "two", "three"),
    annotator=np.array([0, 1, 0, 1, -1, 0, 1]),
    annotators=("ann", "bob"),
)
PEOPLE = np.array([[1.3, 0.2, -0.5], [0.7, -0.4, 0.1], [1.0, 0.0, -1.0]])
CORRELATION = np.array([[1.2, 0.4, -0.3], [0.4, 0.8, 0.1], [-0.3, 0.1, 1.0]])
PROMPT_TIE = np.array([0.3, 0.0, 0.5])


@cache
def world(**changes: float) -> World:
    shape = {"prompts": 40, "models": 10, "annotators": 25, "votes_per_pair": 1.5, "spammers": 0.2, "seed": 7}
    return simulate_world(SimulateConfig(**(shape | changes)))


@cache
def fitted() -> HierarchicalFit:
    """The fit of the plain world."""
    return Hierarchical().fit(world().votes)


def tau(scores: np.ndarray, made: World) -> float:
    return float(np.nanmean(kendall_tau(scores, made.responses.strength.ravel(), made.votes.offsets)))


# The likelihood, against differences and sums written out.


@settings(deadline=None)
@given(d=st.floats(-30, 30), t=st.floats(-5, 5), side=st.sampled_from([-1.0, 0.0, 1.0]))
def test_derivatives_equal_differences_of_the_log_probability(d: float, t: float, side: float) -> None:
    step = 1e-3

    def at(of_d: float, of_t: float) -> float:
        return float(log_probability(np.array(d + of_d * step), np.array(t + of_t * step), side))

    expected = [
        (at(1, 0) - at(-1, 0)) / (2 * step),
        (at(0, 1) - at(0, -1)) / (2 * step),
        (at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / step**2,
        (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * step**2),
        (at(0, 1) - 2 * at(0, 0) + at(0, -1)) / step**2,
    ]
    np.testing.assert_allclose(derivatives(np.array(d), np.exp(np.array(t)), np.array(side)), expected, atol=1e-5)


@given(d=st.floats(-700, 700), t=st.floats(-30, 30))
def test_probabilities_of_the_three_outcomes_sum_to_1(d: float, t: float) -> None:
    total = sum(np.exp(log_probability(np.array(d), np.array(t), side)) for side in (1.0, -1.0, 0.0))
    assert total == pytest.approx(1)


def expected_log_likelihood(
    people: np.ndarray, prompt_tie: np.ndarray, strength: np.ndarray, variance: np.ndarray, of_prompt: int | None = None
) -> float:
    """Of the votes of SMALL, one by one, three nodes. variance: (7,) of gaps."""
    total = 0.0
    for v in range(7):
        prompt = SMALL.response_prompt[SMALL.left[v]]
        rate, bias, tie = people[SMALL.annotator[v]]
        side = [1.0, -1.0, 0.0, 0.0][SMALL.outcome[v]]
        for point, share in zip(*quadrature(3), strict=True):
            deviation = min(np.sqrt(variance[v]), MAX_DEVIATION / rate)
            gap = strength[SMALL.left[v]] - strength[SMALL.right[v]] + point * deviation
            d = rate * gap + bias * SMALL.sides_known[v]
            if of_prompt in (None, prompt):
                total += SMALL.weight[v] * share * float(log_probability(d, tie + prompt_tie[prompt], side))
    return total


def test_sites_and_parameter_derivatives_equal_differences_of_the_expected_log_likelihood() -> None:
    data, rng, step = vote_data(SMALL), np.random.default_rng(0), 1e-4
    strength, covariance = rng.normal(size=8), np.zeros(data.cells)
    covariance[data.diagonal] = rng.uniform(0.2, 1.0, 8)
    variance = data.gap_variance(covariance)
    likelihood = Likelihood(data, PEOPLE, PROMPT_TIE, 3)

    def differences(function: object, size: int) -> np.ndarray:
        unit = step * np.eye(size)
        return np.array([(function(e) - function(-e)) / (2 * step) for e in unit])  # type: ignore[operator]

    sites = likelihood.sites(strength, covariance)
    gradient = differences(lambda e: expected_log_likelihood(PEOPLE, PROMPT_TIE, strength + e, variance), 8)

    def slope(at: np.ndarray) -> np.ndarray:
        linear, information = likelihood.sites(at, covariance)
        return linear - data.product(information, at)

    np.testing.assert_allclose(slope(strength), gradient, atol=1e-6)
    bend = differences(lambda e: -slope(strength + e), 8)
    for block in data.blocks:
        for responses, matrix in zip(block.responses, block.of(sites.information), strict=True):
            np.testing.assert_allclose(matrix, bend[np.ix_(responses, responses)], atol=1e-6)

    found = likelihood.parameter_derivatives(strength, covariance)

    def shifted(e: np.ndarray) -> Likelihood:
        return replace(likelihood, value=PEOPLE + e.reshape(3, 3))

    rate = PEOPLE[:, :1] >= MAX_DEVIATION / np.sqrt(variance.max())
    assert not rate.any()  # the limit of the deviation does not bind
    gradient = differences(
        lambda e: expected_log_likelihood(PEOPLE + e.reshape(3, 3), PROMPT_TIE, strength, variance), 9
    )
    np.testing.assert_allclose(found.gradient.ravel(), gradient, atol=1e-6)
    hessian = differences(lambda e: shifted(e).parameter_derivatives(strength, covariance).gradient.ravel(), 9)
    for a in range(3):
        np.testing.assert_allclose(found.hessian[a], hessian[3 * a : 3 * a + 3, 3 * a : 3 * a + 3], atol=1e-6)
    for p in range(3):
        of_prompt = [
            expected_log_likelihood(PEOPLE, PROMPT_TIE + e * np.eye(3)[p], strength, variance, p)
            for e in (-step, 0.0, step)
        ]
        assert found.prompt_gradient[p] == pytest.approx((of_prompt[2] - of_prompt[0]) / (2 * step), abs=1e-5)
        assert found.prompt_hessian[p] == pytest.approx(np.diff(of_prompt, 2)[0] / step**2, abs=1e-5)


# The posterior, against plain matrices over all responses.


def small_prior(correlation: np.ndarray | None) -> StrengthPrior:
    return StrengthPrior(0.8, 1.1, correlation, PromptEffect(np.array([0.2, 0.0, -0.3]), 0.1))


def small_covariance(prior: StrengthPrior, *, around_means: bool) -> np.ndarray:
    """(8, 8) prior covariance of the strengths, cell by cell."""
    model, prompt = SMALL.response_model, SMALL.response_prompt
    of_models = prior.variance * (np.eye(3) if prior.correlation is None else prior.correlation)
    least = np.linalg.eigvalsh(of_models)[0]
    covariance = np.zeros((8, 8))
    for i in range(8):
        scale = np.exp(2 * prior.log_scale.value[prompt[i]])
        for j in range(8):
            if model[i] >= 0 and model[j] >= 0:
                if prompt[i] == prompt[j]:
                    shared = least if model[i] == model[j] and i != j else 0.0
                    covariance[i, j] += scale * (of_models[model[i], model[j]] - shared)
                if model[i] == model[j] and not around_means:
                    covariance[i, j] += prior.mean_variance
        if model[i] < 0:
            covariance[i, i] = scale * prior.variance + prior.mean_variance
    return covariance


@pytest.mark.parametrize("correlation", [None, CORRELATION], ids=["independent", "correlated"])
def test_a_newton_step_equals_that_of_plain_matrices(correlation: np.ndarray | None) -> None:
    data, prior, rng = vote_data(SMALL), small_prior(correlation), np.random.default_rng(0)
    start, covariance = rng.normal(0, 0.1, 8), np.zeros(data.cells)
    covariance[data.diagonal] = 1.0
    likelihood, means = Likelihood(data, PEOPLE, np.zeros(3), 3), np.zeros(3)
    for _ in range(4):  # first steps are damped
        (start, _), means, *_ = newton_step(likelihood, prior, Normal(start, covariance), means)
    linear, flat = likelihood.sites(start, covariance)
    found = newton_step(likelihood, prior, Normal(start, covariance), means)

    def whole(cells: np.ndarray) -> np.ndarray:
        matrix = np.zeros((8, 8))
        for block in data.blocks:
            for responses, part in zip(block.responses, block.of(cells), strict=True):
                matrix[np.ix_(responses, responses)] = part
        return matrix

    together = SMALL.response_prompt[:, None] == SMALL.response_prompt
    information = whole(flat)
    joint = np.linalg.inv(np.linalg.inv(small_covariance(prior, around_means=False)) + information)
    mean = joint @ linear  # of the strengths, model means integrated out
    np.testing.assert_allclose(found.posterior.mean, mean, atol=1e-10)
    np.testing.assert_allclose(whole(found.posterior.covariance), joint * together, atol=1e-10)

    q = np.linalg.inv(small_covariance(prior, around_means=True))
    s = np.linalg.inv(information + q)
    of_model = np.eye(4)[SMALL.response_model][:, :3]
    of_means = np.linalg.inv(of_model.T @ (q - q @ s @ q) @ of_model + np.eye(3) / prior.mean_variance)
    np.testing.assert_allclose(found.moments.model_covariance, of_means, atol=1e-10)
    np.testing.assert_allclose(found.model_mean, of_means @ of_model.T @ q @ s @ linear)
    learn, away = np.eye(8) - s @ q, mean - of_model @ found.model_mean
    second = s + learn @ of_model @ of_means @ of_model.T @ learn.T + np.outer(away, away)
    np.testing.assert_allclose(whole(found.moments.second), second * together, atol=1e-10)
    known = SMALL.response_model >= 0
    for p in range(3):
        of = known & (SMALL.response_prompt == p)
        assert found.moments.gradient[p] == pytest.approx(np.diag(q @ (second * together) - np.eye(8))[of].sum())
        assert found.moments.information[p] == pytest.approx((learn * learn.T)[np.ix_(of, of)].sum())


def test_newton_steps_from_far_away_reach_the_maximum() -> None:
    data = vote_data(ALONE)
    prior = StrengthPrior(0.0, 1e4, None, PromptEffect(np.zeros(1), 0.0))
    likelihood = Likelihood(data, np.array([[1.0, 0.0, 0.0]]), np.zeros(1), 1)
    posterior = Normal(np.linspace(-40, 40, 8), np.zeros(data.cells))
    for _ in range(80):
        step = newton_step(likelihood, prior, posterior, np.zeros(0))
        posterior = step.posterior
    assert step.error.max() < 1e-9


def test_variance_steps_on_known_values_end_at_their_mean_square() -> None:
    values = np.array([3.0, -1.0, 2.0, 0.5])
    variance = 1.0
    for _ in range(50):
        variance = variance_step(variance, float((values**2).sum()), 4, 4.0, Hyperprior(1.0, 0.0), 1.0)
    assert variance == pytest.approx((values**2).mean())


# Missing data.


@pytest.mark.parametrize("models", [(), tuple(f"m{i}" for i in range(8))])
def test_one_prompt_without_annotators_equals_bradley_terry_with_a_ridge(models: tuple[str, ...]) -> None:
    """Exactly so with Laplace's approximation, the ridge being the inverse of the whole prior variance."""
    number = np.arange(8, dtype=np.int32) if models else np.full(8, -1, dtype=np.int32)
    unknown = np.zeros(len(ALONE.left), dtype=np.bool_)
    votes = replace(ALONE, response_model=number, models=models, sides_known=unknown)
    fit = Hierarchical(nodes=1).fit(votes)
    assert fit.converged.all()
    ridge = 1 / (fit.prior.variance + fit.prior.mean_variance)
    np.testing.assert_allclose(fit.strength, BradleyTerry(ridge)(votes).scores, atol=1e-4)
    assert kendall_tau(Hierarchical().fit(votes).strength, fit.strength, votes.offsets)[0] > 0.9


def test_anonymous_votes_have_one_annotator_of_discrimination_1() -> None:
    votes = replace(world().votes, annotator=np.full_like(world().votes.annotator, -1), annotators=())
    fit = Hierarchical().fit(votes)
    assert fit.annotators.discrimination.tolist() == pytest.approx([1.0])
    assert len(fit.discrimination) == 0
    assert fit.converged.all()
    assert tau(fit.strength, world()) > tau(BradleyTerry()(votes).scores, world())


def test_without_models_responses_share_one_variance() -> None:
    votes = replace(world().votes, response_model=np.full_like(world().votes.response_model, -1), models=())
    fit = Hierarchical().fit(votes)
    assert fit.prior.mean_variance == 0
    assert len(fit.model_mean) == 0
    assert fit.converged.all()
    assert tau(fit.strength, world()) > tau(BradleyTerry()(votes).scores, world())


def test_responses_of_unknown_models_beside_known_ones_are_ranked() -> None:
    unknown = np.random.default_rng(1).random(len(world().votes.response_model)) < 0.3
    votes = replace(world().votes, response_model=np.where(unknown, -1, world().votes.response_model))
    fit = Hierarchical().fit(votes)
    assert fit.converged.all()
    assert tau(fit.strength, world()) > tau(BradleyTerry()(votes).scores, world())


def test_without_ties_the_probability_of_a_tie_is_0() -> None:
    assert Hierarchical().fit(world(ties=0.0).votes).tie_share.max() < 1e-12


def test_unknown_sides_have_no_bias_and_no_effect() -> None:
    votes = replace(world().votes, sides_known=np.zeros(len(world().votes.left), dtype=np.bool_))
    swap = np.random.default_rng(0).random(len(votes.left)) < 0.5
    swapped = replace(
        votes,
        left=np.where(swap, votes.right, votes.left),
        right=np.where(swap, votes.left, votes.right),
        outcome=np.where(swap, np.array([1, 0, 2, 3], dtype=np.int8)[votes.outcome], votes.outcome),
    )
    fit = Hierarchical().fit(votes)
    np.testing.assert_allclose(Hierarchical().fit(swapped).strength, fit.strength, atol=1e-8)
    assert np.abs(fit.left_bias).max() < 1e-12


def test_both_bad_is_a_tie() -> None:
    votes = world().votes
    same = replace(votes, outcome=np.where(votes.outcome == 2, 3, votes.outcome).astype(np.int8))
    assert np.array_equal(Hierarchical().fit(same).strength, fitted().strength)


def test_annotators_without_votes_stay_at_the_prior() -> None:
    votes = replace(world().votes, annotators=(*world().votes.annotators, "newcomer"))
    people = Hierarchical().fit(votes).annotators
    np.testing.assert_allclose(people.value[-2, 1:], people.prior_mean[1:], atol=1e-3)


@settings(max_examples=15, deadline=None)
@given(votes=prompt_sets())
def test_scores_are_finite_and_converged_for_any_graph(votes: VoteArrays) -> None:
    ranking = Hierarchical()(votes)
    assert np.isfinite(ranking.scores).all()
    assert ranking.converged.all()


def test_prompts_without_votes_and_no_prompts_are_accepted() -> None:
    silent = Hierarchical()(votes_from([], silent=[("p", "a"), ("p", "b"), ("q", "c")]))
    assert silent.scores.tolist() == [0, 0, 0]
    assert silent.converged.all()
    assert len(Hierarchical()(votes_from([])).scores) == 0


# Symmetries.


def test_equal_votes_give_equal_bytes() -> None:
    again = Hierarchical().fit(replace(world().votes))
    assert again.strength.tobytes() == fitted().strength.tobytes()
    assert again.covariance[0].tobytes() == fitted().covariance[0].tobytes()


def test_relabelling_responses_relabels_the_ranking() -> None:
    renumbered, new = relabelled(world().votes, seed=1)
    model = np.empty_like(world().votes.response_model)
    model[new] = world().votes.response_model
    fit = Hierarchical().fit(replace(renumbered, response_model=model))
    np.testing.assert_allclose(fit.strength[new], fitted().strength, atol=1e-8)


def test_exchanging_the_sides_reverses_the_biases_and_nothing_else() -> None:
    votes = world().votes
    fit = Hierarchical().fit(replace(reversed_votes(votes), left=votes.right, right=votes.left))
    np.testing.assert_allclose(fit.strength, fitted().strength, atol=1e-8)
    np.testing.assert_allclose(fit.left_bias, -fitted().left_bias, atol=1e-8)
    np.testing.assert_allclose(fit.discrimination, fitted().discrimination, atol=1e-8)


def test_a_vote_of_weight_2_equals_two_votes() -> None:
    votes = world().votes
    twice = np.repeat(np.arange(len(votes.left)), 2)
    heavy = Hierarchical().fit(replace(votes, weight=votes.weight * 2))
    np.testing.assert_allclose(Hierarchical().fit(votes.of_votes(twice)).strength, heavy.strength, atol=1e-8)


# What it estimates.


def test_it_is_closer_to_the_truth_than_bradley_terry() -> None:
    assert fitted().converged.all()
    assert tau(fitted().strength, world()) > tau(BradleyTerry()(world().votes).scores, world()) + 0.03


def test_spammers_have_discrimination_near_0() -> None:
    made = world(votes_per_pair=4.0)
    fit, spammer = Hierarchical().fit(made.votes), made.annotators.spammer
    busy = np.bincount(made.annotator, minlength=25) > 100
    assert fit.discrimination.mean() == pytest.approx(1.0)
    assert fit.discrimination[spammer & busy].max() < 0.2
    assert np.median(fit.discrimination[~spammer & busy]) > 0.9
    assert np.corrcoef(fit.discrimination[busy], made.annotators.discrimination[busy])[0, 1] > 0.9


def test_biases_ties_and_variances_are_estimated() -> None:
    made = world(votes_per_pair=6.0, prompts=60, left_bias=0.6, spammers=0.0, seed=1)
    fit = Hierarchical().fit(made.votes)
    _, bias, tie = fit.annotators.prior_mean
    assert bias == pytest.approx(0.6, abs=0.15)
    assert tie == pytest.approx(np.log(2 * 0.15 / 0.85 * np.cosh(0.3)), abs=0.15)
    unit = made.annotators.discrimination.mean()  # strengths are in logits of a mean discrimination of 1
    own = made.responses.strength - made.responses.model_strength[made.responses.model]
    assert np.sqrt(fit.prior.variance) == pytest.approx(unit * own.std(), rel=0.1)
    assert np.corrcoef(fit.model_mean, made.responses.model_strength)[0, 1] > 0.95


def test_standard_errors_equal_the_distance_from_the_truth() -> None:
    made = world(votes_per_pair=3.0)
    fit = Hierarchical().fit(made.votes)
    truth = made.responses.strength * made.annotators.discrimination.mean()
    found = fit.strength.reshape(truth.shape)
    error = (found - found.mean(axis=1, keepdims=True)) - (truth - truth.mean(axis=1, keepdims=True))
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((fit.strength_se**2).mean()), rel=0.2)


def correlated_world(prompts: int) -> tuple[VoteArrays, np.ndarray]:
    """Votes where the strengths of one half of the models rise on the prompts on which those of the other half fall."""
    made, rng = world(prompts=prompts), np.random.default_rng(5)
    model = made.responses.model
    strength = np.where(model < 5, 1, -1) * rng.normal(0, 1.2, (prompts, 1)) + rng.normal(0, 0.5, model.shape)
    gap = strength.ravel()[made.left] - strength.ravel()[made.right]
    return replace(made.votes, outcome=draw_outcomes(rng, gap, made.annotators, made.annotator)), strength.ravel()


def test_correlated_models_are_found_and_used_with_enough_prompts() -> None:
    votes, truth = correlated_world(80)
    fit = Hierarchical().fit(votes)
    assert fit.converged.all()
    assert fit.prior.correlation is not None
    assert (fit.prior.correlation[:5, :5] > 0).all()
    assert (fit.prior.correlation[:5, 5:] < 0).all()
    alone = replace(votes, response_model=np.full_like(votes.response_model, -1), models=())
    independent = Hierarchical().fit(alone).strength
    gain = kendall_tau(fit.strength, truth, votes.offsets) - kendall_tau(independent, truth, votes.offsets)
    assert np.nanmean(gain) > 0.02


def test_few_prompts_and_independent_models_have_no_correlations() -> None:
    assert Hierarchical().fit(correlated_world(40)[0]).prior.correlation is None
    assert Hierarchical().fit(world(prompts=60).votes).prior.correlation is None


def test_prompts_with_more_ties_have_a_larger_tie_parameter_not_a_smaller_scale() -> None:
    """On half of the prompts a third of all votes, whatever the gap, are replaced by ties."""
    made = world(votes_per_pair=4.0)
    prompt = made.votes.response_prompt[made.left]
    tied = (prompt < 20) & (np.random.default_rng(2).random(len(prompt)) < 0.33)
    fit = Hierarchical().fit(replace(made.votes, outcome=np.where(tied, 2, made.outcome).astype(np.int8)))
    assert fit.converged.all()
    assert fit.prompt_tie[:20].min() > fit.prompt_tie[20:].max()
    scale = fit.prior.log_scale.value
    assert scale[20:].mean() - scale[:20].mean() < 0.2
    assert np.abs(Hierarchical().fit(made.votes).prompt_tie).max() < 0.2


def test_prompts_of_larger_spread_have_a_larger_scale() -> None:
    made, rng = world(votes_per_pair=3.0), np.random.default_rng(4)
    factor = np.where(np.arange(40) < 20, 2.5, 0.6)
    strength = rng.normal(0, 1, made.responses.strength.shape) * factor[:, None]
    gap = strength.ravel()[made.left] - strength.ravel()[made.right]
    votes = replace(made.votes, outcome=draw_outcomes(rng, gap, made.annotators, made.annotator))
    scale = Hierarchical().fit(votes).prior.log_scale.value
    assert scale[:20].mean() - scale[20:].mean() > 0.5


# How it ends.


def test_a_start_from_a_sample_of_prompts_reaches_the_same_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLE_PROMPTS", 10)
    again = Hierarchical().fit(world().votes)
    assert again.converged.all()
    assert not np.array_equal(again.strength, fitted().strength)
    np.testing.assert_allclose(again.strength, fitted().strength, atol=0.02)


def test_the_result_does_not_depend_on_the_tolerance() -> None:
    close = Hierarchical(tolerance=1e-5).fit(world().votes)
    assert close.converged.all()
    assert (close.n_iter > fitted().n_iter).all()
    np.testing.assert_allclose(fitted().strength, close.strength, atol=0.02)


def test_a_fit_that_is_cut_short_has_not_converged() -> None:
    assert not Hierarchical(max_iterations=2).fit(world().votes).converged.any()


def test_invalid_hyperparameters_raise() -> None:
    for invalid in ({"tolerance": 0.0}, {"nodes": 0}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            Hierarchical(**invalid)  # type: ignore[arg-type]
