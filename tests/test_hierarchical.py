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
from curate.rankers.hierarchical.model import Likelihood
from curate.rankers.hierarchical.perception import PerceivedGaps, Perception, VoteSites
from curate.rankers.hierarchical.posterior import solve
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


@given(d=st.floats(-700, 700), t=st.floats(-30, 30))
def test_probabilities_of_the_three_outcomes_sum_to_1(d: float, t: float) -> None:
    total = sum(np.exp(log_probability(np.array(d), np.array(t), side)) for side in (1.0, -1.0, 0.0))
    assert total == pytest.approx(1)


def sites_of(votes: VoteArrays, seed: int = 0) -> VoteSites:
    """Arbitrary sites of the votes."""
    rng = np.random.default_rng(seed)
    return VoteSites(rng.uniform(0.05, 0.4, len(votes.left)), rng.normal(0, 0.4, len(votes.left)))


def test_an_update_equals_integration_on_a_grid() -> None:
    """Reference: the posterior of a perceived gap, over the vote's old site, times its likelihood."""
    data, sites, rng = vote_data(SMALL), sites_of(SMALL), np.random.default_rng(1)
    gaps = PerceivedGaps(rng.normal(size=7), rng.uniform(0.3, 1.5, 7), 0.0, 0.0, np.zeros(0))

    def tilted(v: int, people: np.ndarray, prompt_tie: np.ndarray) -> tuple[float, float, float]:
        """Log mass, mean and variance."""
        mean, variance = gaps.mean[v], gaps.variance[v]
        u = mean + np.sqrt(variance) * np.linspace(-9, 9, 4001)
        rate, bias, tie = people[SMALL.annotator[v]]
        side = [1.0, -1.0, 0.0, 0.0][SMALL.outcome[v]]
        t = tie + prompt_tie[SMALL.response_prompt[SMALL.left[v]]]
        log = log_probability(rate * u + bias, t, side) - sites.linear[v] * u + sites.precision[v] * u**2 / 2
        density = np.exp(log - (u - mean) ** 2 / (2 * variance))
        at = float(density @ u / density.sum())
        return float(np.log(density.sum())), at, float(density @ (u - at) ** 2 / density.sum())

    new, found = Likelihood(data, PEOPLE, PROMPT_TIE, 9).update(sites, gaps)
    gradient, of_prompt, step = np.zeros((3, 3)), np.zeros(3), 1e-4
    for v in range(7):
        _, mean, variance = tilted(v, PEOPLE, PROMPT_TIE)
        cavity = 1 / gaps.variance[v] - sites.precision[v]
        cavity_linear = gaps.mean[v] / gaps.variance[v] - sites.linear[v]
        assert new.precision[v] == pytest.approx(1 / variance - cavity, abs=2e-3)
        assert new.linear[v] == pytest.approx(mean / variance - cavity_linear, abs=2e-3)
        for k in range(3):
            ends = [tilted(v, PEOPLE + sign * step * np.eye(3)[k], PROMPT_TIE)[0] for sign in (1, -1)]
            gradient[SMALL.annotator[v], k] += SMALL.weight[v] * (ends[0] - ends[1]) / (2 * step)
        ends = [tilted(v, PEOPLE, PROMPT_TIE + sign * step)[0] for sign in (1, -1)]
        of_prompt[SMALL.response_prompt[SMALL.left[v]]] += SMALL.weight[v] * (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(found.gradient, gradient, atol=2e-3)
    np.testing.assert_allclose(found.prompt_gradient, of_prompt, atol=2e-3)


def test_messages_and_perceived_gaps_equal_those_of_plain_matrices() -> None:
    """Reference: one normal distribution of all strengths and all errors of perception."""
    rows = [("p", "a", "b", 0), ("p", "b", "c", 0), ("p", "a", "c", 0), ("p", "a", "b", 1), ("p", "c", "d", 1)]
    rows += [("p", "a", "d", 1), ("q", "x", "y", 0), ("q", "y", "z", 1), ("q", "x", "z", 2)]
    votes = votes_from([(prompt, a, b, "left") for prompt, a, b, _ in rows])
    votes = replace(votes, annotator=np.array([row[3] for row in rows], dtype=np.int32), annotators=("a", "b", "c"))
    data, sites, variance, prior = vote_data(votes), sites_of(votes), 0.7, 1.3
    errors = sorted(
        {pair for side in (votes.left, votes.right) for pair in zip(votes.annotator, side.tolist(), strict=True)}
    )
    design = np.zeros((9, 7 + len(errors)))
    for v, (a, left, right) in enumerate(zip(votes.annotator, votes.left, votes.right, strict=True)):
        for response, sign in ((left, 1.0), (right, -1.0)):
            design[v, [response, 7 + errors.index((a, int(response)))]] = sign

    def joint(error_variance: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Mean and covariance of strengths and errors, and the log-evidence."""
        q = np.diag([1 / prior] * 7 + [1 / error_variance] * len(errors))
        total = q + design.T @ (sites.precision[:, None] * design)
        linear = design.T @ sites.linear
        covariance = np.linalg.inv(total)
        evidence = linear @ covariance @ linear - np.linalg.slogdet(total)[1] + np.linalg.slogdet(q)[1]
        return covariance @ linear, covariance, evidence / 2

    mean, covariance, _ = joint(variance)
    perception = Perception(data, sites, variance)
    posterior = np.zeros((7, 7))
    for block in data.blocks:
        for responses, matrix in zip(block.responses, block.of(perception.sites.information), strict=True):
            posterior[np.ix_(responses, responses)] = matrix
    posterior = np.linalg.inv(posterior + np.eye(7) / prior)
    np.testing.assert_allclose(posterior, covariance[:7, :7], atol=1e-10)
    np.testing.assert_allclose(posterior @ perception.sites.linear, mean[:7], atol=1e-10)
    flat = np.concatenate([posterior[np.ix_(r, r)].ravel() for block in data.blocks for r in block.responses])
    gaps = perception.perceived(mean[:7], flat)
    np.testing.assert_allclose(gaps.mean, design @ mean, atol=1e-10)
    np.testing.assert_allclose(gaps.variance, np.diag(design @ covariance @ design.T), atol=1e-10)
    slope = (joint(variance + 1e-5)[2] - joint(variance - 1e-5)[2]) / 2e-5
    assert gaps.score / 2 == pytest.approx(slope, abs=1e-6)
    left = np.eye(len(errors)) / variance - covariance[7:, 7:] / variance**2  # precision of the data in the errors
    squares = sum(
        float(np.trace(block.of(gaps.squares)[0] @ block.of(flat)[0] @ block.of(gaps.squares)[0] @ block.of(flat)[0]))
        for block in data.blocks
    )
    assert gaps.information + squares == pytest.approx(float((left * left).sum()), abs=1e-10)


def test_many_votes_of_one_annotator_on_a_pair_count_at_most_as_one_exact_perception() -> None:
    votes = votes_from([("p", "a", "b", "left")] * 50)
    votes = replace(votes, annotator=np.zeros(50, dtype=np.int32), annotators=("ann",))
    sites = VoteSites(np.full(50, 0.25), np.full(50, 0.3))
    information = Perception(vote_data(votes), sites, 0.5).sites.information
    assert 0.9 < information[0] < 1.0  # 1 / (2 · 0.5)
    alone = replace(votes, annotator=np.full(50, -1, dtype=np.int32), annotators=())
    assert Perception(vote_data(alone), sites, 0.5).sites.information[0] == pytest.approx(50 * 0.25 / 1.25)


# The posterior, against plain matrices over all responses.


def small_prior(correlation: np.ndarray | None) -> StrengthPrior:
    return StrengthPrior(0.8, 1.1, correlation, PromptEffect(np.array([0.2, 0.0, -0.3]), 0.1), 0.0)


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
def test_the_posterior_equals_that_of_plain_matrices(correlation: np.ndarray | None) -> None:
    data, prior = vote_data(SMALL), small_prior(correlation)
    linear, flat = sites = Perception(data, sites_of(SMALL), 0.0).sites
    found = solve(data, sites, prior)

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


def test_variance_steps_on_known_values_end_at_their_mean_square() -> None:
    values = np.array([3.0, -1.0, 2.0, 0.5])
    variance = 1.0
    for _ in range(50):
        variance = variance_step(variance, float((values**2).sum()), 4, 4.0, Hyperprior(1.0, 0.0), 1.0)
    assert variance == pytest.approx((values**2).mean())


# Missing data.


@pytest.mark.parametrize("models", [(), tuple(f"m{i}" for i in range(8))])
def test_one_prompt_without_annotators_is_ranked_as_by_bradley_terry_with_a_ridge(models: tuple[str, ...]) -> None:
    """The ridge is the inverse of the whole prior variance. A posterior mean lies farther out than a mode."""
    number = np.arange(8, dtype=np.int32) if models else np.full(8, -1, dtype=np.int32)
    unknown = np.zeros(len(ALONE.left), dtype=np.bool_)
    votes = replace(ALONE, response_model=number, models=models, sides_known=unknown)
    fit = Hierarchical().fit(votes)
    assert fit.converged.all()
    ridge = 1 / (fit.prior.variance + fit.prior.mean_variance)
    mode = BradleyTerry(ridge)(votes).scores
    assert kendall_tau(fit.strength, mode, votes.offsets)[0] > 0.9
    np.testing.assert_allclose(fit.strength, mode, atol=0.3 * fit.strength_se.max())


def test_the_posterior_of_two_responses_equals_integration_on_a_grid() -> None:
    outcomes = ["left"] * 6 + ["right"] * 2 + ["tie"]
    votes = votes_from([("p", "a", "b", outcome) for outcome in outcomes])
    fit = Hierarchical().fit(votes)
    gap = np.linspace(-12, 12, 20_001)
    log = -(gap**2) / (4 * fit.prior.variance)
    for outcome in outcomes:
        side = {"left": 1.0, "right": -1.0, "tie": 0.0}[outcome]
        log += log_probability(gap + fit.annotators.value[-1, 1], fit.annotators.tie[-1] + fit.prompt_tie[0], side)
    density = np.exp(log - log.max())
    density /= density.sum()
    mean = float(density @ gap)
    assert fit.strength[0] - fit.strength[1] == pytest.approx(mean, abs=0.02)
    covariance = fit.covariance[0][0]
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert variance == pytest.approx(float(density @ (gap - mean) ** 2), rel=0.05)


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
    votes = replace(world().votes, annotator=np.full_like(world().votes.annotator, -1))  # each a sitting of its own
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
    center = np.eye(truth.shape[1]) - 1 / truth.shape[1]
    variance = np.einsum("bii->bi", center @ fit.covariance[0] @ center)
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt(variance.mean()), rel=0.2)


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
    of_all = fitted()
    monkeypatch.setattr(module, "SAMPLE_PROMPTS", 10)
    monkeypatch.setattr(module, "SAMPLE_VOTES", 100)
    again = Hierarchical().fit(world().votes)
    assert again.converged.all()
    assert not np.array_equal(again.strength, of_all.strength)
    np.testing.assert_allclose(again.strength, of_all.strength, atol=0.03)


def test_the_result_does_not_depend_on_the_tolerance() -> None:
    close = Hierarchical(tolerance=1e-5).fit(world().votes)
    assert close.converged.all()
    assert (close.n_iter > fitted().n_iter).all()
    np.testing.assert_allclose(fitted().strength, close.strength, atol=0.02)


def test_a_fit_that_is_cut_short_has_not_converged() -> None:
    assert not Hierarchical(max_iterations=2).fit(world().votes).converged.any()


def test_invalid_hyperparameters_raise() -> None:
    for invalid in ({"tolerance": 0.0}, {"nodes": 2}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match="at least"):
            Hierarchical(**invalid)  # type: ignore[arg-type]


# What the votes cannot tell.


def test_single_votes_tell_of_model_means_alone() -> None:
    """With one vote on each prompt any variance explains the votes equally well: it stays that of the prior."""
    rows = [(f"p{i}", "a", "b", "right" if i % 6 == 0 else "left") for i in range(300)]
    votes = replace(votes_from(rows), response_model=np.tile([0, 1], 300).astype(np.int32), models=("one", "two"))
    fit = Hierarchical().fit(votes)
    assert fit.prior.variance == pytest.approx(1.0, abs=0.01)
    assert fit.mixture is None
    assert fit.converged.all()
    assert (fit.strength[::2] > fit.strength[1::2]).all()  # no single vote outweighs the other 299


def test_one_ranking_of_each_prompt_does_not_exclude_errors_of_perception() -> None:
    """The pairs of a ranking agree perfectly, whether it is right or not."""
    order, rows = np.random.default_rng(0).permuted(np.tile(np.arange(8), (60, 1)), axis=1), []
    for p, i, j in np.ndindex(60, 8, 8):
        if i < j:
            rows.append((f"p{p:02}", f"r{i}", f"r{j}", "left" if order[p, i] < order[p, j] else "right"))
    votes = replace(votes_from(rows), group=np.repeat(np.arange(60), 28).astype(np.int32))
    prior = Hierarchical().fit(votes).prior
    assert 0.4 < prior.error_variance / prior.variance < 3
