"""The joint ranker: its derivatives, its slow twin, what it becomes when something is missing, and what it gains."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from curate.evaluation.agreement import kendall_tau
from curate.rankers import BradleyTerry
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.hierarchical import ranker as hierarchical_ranker
from curate.rankers.hierarchical.annotators import BIAS, TIE, Annotators, _sums, first_guess, scored
from curate.rankers.hierarchical.columns import columns_of, sorted_by
from curate.rankers.hierarchical.kernels import WIDEST, davidson_chances, fast_exp, rao_kupper_chances, slopes
from curate.rankers.hierarchical.matrices import SMALL as SMALL_MATRIX
from curate.rankers.hierarchical.matrices import inverse
from curate.rankers.hierarchical.posterior import Likelihood, newton_step
from curate.rankers.hierarchical.prior import Prior
from curate.rankers.hierarchical.state import Mixing, first_state
from curate.rankers.hierarchical.votes import MODELS, TieModel, quadrature, tie_parameter, tie_share
from curate.simulation.world import World, draw_outcomes, simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig
from tests.strategies import prompt_sets, random_wins, relabelled, reversed_votes, votes_from, votes_from_wins

TIES: tuple[TieModel, ...] = ("davidson", "rao-kupper")
ALONE = votes_from_wins(random_wins(8, 2.0, seed=3))


@cache
def world(**changes: float) -> World:
    shape = {"prompts": 40, "models": 10, "annotators": 25, "votes_per_pair": 1.5, "spammers": 0.2, "seed": 7}
    return simulate_world(SimulateConfig(**(shape | changes)))


def tau(scores: np.ndarray, made: World) -> float:
    return float(np.nanmean(kendall_tau(scores, made.responses.strength.ravel(), made.votes.offsets)))


# The likelihood.


def chances_of(ties: TieModel, d: float, t: float) -> tuple[float, float]:
    """Of left and right, by the log-chances."""
    left, right = (np.exp(MODELS[ties].log_chance(np.array(d), np.array(t), np.array(side))) for side in (1.0, -1.0))
    return float(left), float(right)


@settings(deadline=None)
@given(d=st.floats(-30, 30), t=st.floats(0.01, 5), side=st.sampled_from([-1, 0, 1]))
@pytest.mark.parametrize("ties", TIES)
def test_slopes_are_the_derivatives_of_the_log_chance(ties: TieModel, d: float, t: float, side: int) -> None:
    one, step = np.array([1.0]), 1e-3 * min(t, 1.0)

    def at(dd: float, tt: float) -> float:
        return MODELS[ties].log_chance((d + dd * step) * one, (t + tt * step) * one, side * one)[0]

    numeric = [
        (at(1, 0) - at(-1, 0)) / (2 * step),
        (at(0, 1) - at(0, -1)) / (2 * step),
        (at(1, 0) - 2 * at(0, 0) + at(-1, 0)) / step**2,
        (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * step**2),
        (at(0, 1) - 2 * at(0, 0) + at(0, -1)) / step**2,
    ]
    found = slopes(*chances_of(ties, d, t), np.exp(t), side, ties == "rao-kupper")
    np.testing.assert_allclose(found, numeric, atol=1e-4 / min(t, 1.0) ** 2)


@settings(deadline=None)
@given(d=st.floats(-500, 500), t=st.floats(1e-6, 8))
@pytest.mark.parametrize("ties", TIES)
def test_chances_in_vector_instructions_are_those_of_the_tie_model(ties: TieModel, d: float, t: float) -> None:
    kernel = {"davidson": davidson_chances, "rao-kupper": rao_kupper_chances}[ties]
    left, right = np.empty(1), np.empty(1)
    kernel(np.array([d - 3.0]), np.array([2.0]), np.array([np.exp(t)]), 1.5, left, right)
    np.testing.assert_allclose([left[0], right[0]], chances_of(ties, d, t), rtol=1e-11, atol=1e-17)


@settings(deadline=None)
@given(x=st.floats(-700, 0))
def test_the_fast_exponential_is_the_exponential(x: float) -> None:
    assert fast_exp(x) == pytest.approx(np.exp(x), rel=1e-12, abs=1e-20)


@given(d=st.floats(-700, 700), t=st.floats(1e-6, 30))
@pytest.mark.parametrize("ties", TIES)
def test_the_three_outcomes_have_all_the_chance(ties: TieModel, d: float, t: float) -> None:
    chance = [np.exp(MODELS[ties].log_chance(np.array(d), np.array(t), np.array(side))) for side in (1.0, -1.0, 0.0)]
    assert sum(chance) == pytest.approx(1)


@pytest.mark.parametrize("ties", TIES)
def test_the_tie_parameter_gives_its_share_of_ties(ties: TieModel) -> None:
    t = np.array([tie_parameter(ties, 0.3)])
    assert tie_share(ties, t, np.zeros(1)) == pytest.approx(0.3)


def expected_by_hand(
    votes: VoteArrays,
    people: np.ndarray,
    prompt_tie: np.ndarray,
    strength: np.ndarray,
    variance: np.ndarray,
    widest: float,
    ties: TieModel,
) -> np.ndarray:
    """(V,) expected log-likelihood of each vote, three nodes. people: (A + 1, 3). variance: (V,) of gaps."""
    value = people[votes.annotator]
    tie = value[:, 2] + prompt_tie[votes.response_prompt[votes.left]]
    d = value[:, 0] * (strength[votes.left] - strength[votes.right]) + value[:, 1] * votes.sides_known
    deviation = np.minimum(value[:, 0] * np.sqrt(variance), widest)
    side = np.array([1.0, -1.0, 0.0, 0.0])[votes.outcome]
    at = zip(*quadrature(3), strict=True)
    return sum(votes.weight * share * MODELS[ties].log_chance(d + z * deviation, tie, side) for z, share in at)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ties", TIES)
def test_sums_over_votes_are_derivatives_of_the_expected_log_likelihood(ties: TieModel, seed: int) -> None:
    """Beside sums over votes written out, and their differences; some sides unknown, some votes anonymous."""
    dice = np.random.default_rng(seed)
    votes = world(prompts=3, models=4, annotators=3).votes
    votes = replace(
        votes,
        annotator=np.where(dice.random(len(votes.left)) < 0.2, -1, votes.annotator),
        sides_known=dice.random(len(votes.left)) < 0.7,
        weight=dice.uniform(0.5, 2, len(votes.left)),
    )
    columns = columns_of(votes)
    root = dice.normal(size=(3, 4, 4))
    covariance = root @ root.swapaxes(1, 2)
    p, i, j = votes.response_prompt[votes.left], votes.left % 4, votes.right % 4
    variance = covariance[p, i, i] + covariance[p, j, j] - 2 * covariance[p, i, j]
    strength, value = dice.normal(size=12), first_guess(columns, ties).value + dice.uniform(0, 0.5, (4, 3))
    people, prompt_tie = replace(first_guess(columns, ties), value=value), np.array([0.3, 0.0, 0.5])
    likelihood = Likelihood(columns, people, prompt_tie, covariance.ravel(), ties, 3)

    def total(strength: np.ndarray) -> float:
        return expected_by_hand(votes, value, prompt_tie, strength, variance, WIDEST, ties).sum()

    def each(value: np.ndarray, prompt_tie: np.ndarray) -> np.ndarray:
        return expected_by_hand(votes, value, prompt_tie, strength, variance, np.inf, ties)

    def per_person(value: np.ndarray) -> np.ndarray:
        return np.bincount(votes.annotator % 4, each(value, prompt_tie), 4)

    def per_prompt(more: float) -> np.ndarray:
        return np.bincount(p, each(value, prompt_tie + more), 3)

    assert likelihood.value(strength) == pytest.approx(total(strength))
    pull, information = likelihood.slopes(strength)
    step = 1e-5
    for r in range(12):
        one = step * np.eye(12)[r]
        assert pull[r] == pytest.approx((total(strength + one) - total(strength - one)) / (2 * step), abs=1e-5)
        bent = (likelihood.slopes(strength - one)[0] - likelihood.slopes(strength + one)[0]) / (2 * step)
        np.testing.assert_allclose(information.reshape(3, 4, 4)[r // 4, r % 4], bent[r // 4 * 4 :][:4], atol=1e-5)

    gradient, curvature, of_prompt = _sums(columns, people.view(prompt_tie, ties, 3), strength, covariance.ravel())
    np.testing.assert_allclose(of_prompt[:, 0], (per_prompt(step) - per_prompt(-step)) / (2 * step), atol=1e-4)
    bend = (per_prompt(1e-3) - 2 * per_prompt(0) + per_prompt(-1e-3)) / 1e-6
    np.testing.assert_allclose(of_prompt[:, 1], bend, rtol=1e-3, atol=1e-3)
    for k in range(3):
        one = step * np.eye(3)[k]
        numeric = (per_person(value + one) - per_person(value - one)) / (2 * step)
        np.testing.assert_allclose(gradient[:, k], numeric, atol=1e-4)
        up, down = (
            _sums(columns, moved.view(prompt_tie, ties, 3), strength, covariance.ravel())[0]
            for moved in (replace(people, value=value + one), replace(people, value=value - one))
        )
        np.testing.assert_allclose(curvature[:, k], (down - up) / (2 * step), atol=1e-3)


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=30))
def test_the_counting_sort_is_a_stable_sort(keys: list[int]) -> None:
    key = np.array(keys, dtype=np.int32)
    first = np.searchsorted(np.sort(key), np.arange(7))
    assert sorted_by(key, first).tolist() == np.argsort(key, kind="stable").tolist()


# The posterior, beside a slow twin.

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
SHARED = np.array([[1.2, 0.4, -0.3], [0.4, 0.9, 0.1], [-0.3, 0.1, 1.0]])


def small_prior() -> Prior:
    return Prior(0.8, 1.1, SHARED, 0.5, np.array([0.2, 0.0, -0.3]), 0.1)


def small_covariance(prior: Prior, around_means: bool) -> np.ndarray:
    """(8, 8) of the strengths, around the models' means or with these integrated out, cell by cell; least eigenvalue of
    C shared by nobody."""
    model, prompt = SMALL.response_model, SMALL.response_prompt
    covariance = np.zeros((8, 8))
    for i in range(8):
        for j in range(8):
            known = model[i] >= 0 and model[j] >= 0
            if known and model[i] == model[j] and not around_means:
                covariance[i, j] += prior.mean_variance
            if prompt[i] == prompt[j] and known:
                covariance[i, j] += np.exp(2 * prior.log_scale[prompt[i]]) * prior.covariance[model[i], model[j]]
                if i != j and model[i] == model[j]:
                    least = np.linalg.eigvalsh(prior.covariance)[0]
                    covariance[i, j] -= np.exp(2 * prior.log_scale[prompt[i]]) * least
            if i == j and not known:
                covariance[i, j] = prior.mean_variance + np.exp(2 * prior.log_scale[prompt[i]]) * prior.variance
    return covariance


@pytest.mark.parametrize("shrinkage", [0.5, 1.0])
def test_a_newton_step_is_that_of_plain_matrices_over_all_responses(shrinkage: float) -> None:
    columns, prior = columns_of(SMALL), small_prior()
    if shrinkage == 1:
        prior = replace(prior, shrinkage=1.0, covariance=prior.variance * np.eye(3))
    dice = np.random.default_rng(0)
    strength, means = dice.normal(0, 0.1, 8), dice.normal(0, 0.1, 3)
    votes = Likelihood(columns, first_guess(columns, "davidson"), np.zeros(3), columns.diagonal(), "davidson", 3)
    pull, flat = votes.slopes(strength)
    found = newton_step(strength, means, prior, votes)

    def whole(flat: np.ndarray) -> np.ndarray:
        matrix = np.zeros((8, 8))
        for batch in columns.batches:
            for slots, block in zip(batch.responses, flat[batch.cells].reshape(batch.shape), strict=True):
                matrix[np.ix_(slots, slots)] = block
        return matrix

    together = SMALL.response_prompt[:, None] == SMALL.response_prompt
    information, precision = whole(flat), np.linalg.inv(small_covariance(prior, around_means=True))
    of_model = np.eye(4)[SMALL.response_model][:, :3]  # (8, 3)
    inverse = np.linalg.inv(information + precision)
    follow = inverse @ precision
    seen = pull + information @ strength
    said = of_model.T @ (precision - precision @ follow) @ of_model + np.eye(3) / prior.mean_variance
    new_means = np.linalg.solve(said, of_model.T @ follow.T @ seen)
    theta = inverse @ seen + follow @ of_model @ new_means
    shared = of_model @ np.linalg.inv(said) @ of_model.T
    learned, away = np.eye(8) - follow, theta - of_model @ new_means
    second = inverse + learned @ shared @ learned.T + np.outer(away, away)

    np.testing.assert_allclose(found.means, new_means, atol=1e-10)
    np.testing.assert_allclose(found.means_covariance, np.linalg.inv(said), atol=1e-10)
    np.testing.assert_allclose(found.strength, theta, atol=1e-10)
    np.testing.assert_allclose(whole(found.covariance), (inverse + follow @ shared @ follow.T) * together, atol=1e-10)
    own = np.exp(2 * prior.log_scale[SMALL.response_prompt])
    part = np.where(SMALL.response_model < 0, prior.variance * own / (prior.variance * own + prior.mean_variance), 1)
    np.testing.assert_allclose(found.moments.fit, np.diag(precision @ (second * together)), atol=1e-10)
    np.testing.assert_allclose(found.moments.learned, np.diag(learned), atol=1e-10)
    score = own[:, None] * (precision @ (second * together) @ precision - precision)
    for p in range(3):
        of_prompt = SMALL.response_prompt == p
        known = (learned * learned.T * np.outer(part, part))[np.ix_(of_prompt, of_prompt)].sum()
        assert found.moments.known[p] == pytest.approx(known)
    np.testing.assert_allclose(found.moments.score, of_model.T @ score @ of_model, atol=1e-10)
    np.testing.assert_allclose(found.moments.squares, of_model.T @ (score**2 * together) @ of_model, atol=1e-10)


@pytest.mark.parametrize("n", [1, 2, 19, SMALL_MATRIX + 1])
def test_the_inverse_is_the_inverse(n: int) -> None:
    root = np.random.default_rng(n).normal(size=(n, n))
    matrix = root @ root.T + np.eye(n)
    np.testing.assert_allclose(inverse(matrix), np.linalg.inv(matrix), atol=1e-9)


def test_the_posterior_is_that_of_a_plain_optimiser_with_all_cells_written_out() -> None:
    columns, prior = columns_of(SMALL), small_prior()
    people = replace(first_guess(columns, "davidson"), value=np.array([[1.3, 0.2, -0.5], [0.7, -0.4, 0.1], [1, 0, -1]]))
    votes = Likelihood(columns, people, np.zeros(3), np.zeros(columns.cells), "davidson", 1)
    strength, means = np.zeros(8), np.zeros(3)
    for _ in range(12):
        posterior = newton_step(strength, means, prior, votes)
        strength, means = posterior.strength, posterior.means
    assert posterior.error.max() < 1e-12

    precision = np.linalg.inv(small_covariance(prior, around_means=False))

    def lost(theta: np.ndarray) -> float:
        total = theta @ precision @ theta / 2
        for vote in range(7):
            rate, bias, tie = people.value[SMALL.annotator[vote]]
            d = rate * (theta[SMALL.left[vote]] - theta[SMALL.right[vote]]) + bias
            weights = [np.exp(d / 2), np.exp(-d / 2), np.exp(tie), np.exp(tie)]
            total -= SMALL.weight[vote] * np.log(weights[SMALL.outcome[vote]] / sum(weights[:3]))
        return total

    found = minimize(lost, np.zeros(8), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(strength, found.x, atol=1e-5)

    step, one = 1e-3, np.eye(8)
    hessian = [
        [
            sum(s * u * lost(strength + step * (s * one[i] + u * one[j])) for s in (1, -1) for u in (1, -1))
            / (4 * step**2)
            for j in range(8)
        ]
        for i in range(8)
    ]
    expected = np.linalg.inv(np.array(hessian))
    for batch in columns.batches:
        matrices = posterior.covariance[batch.cells].reshape(batch.shape)
        for slots, covariance in zip(batch.responses, matrices, strict=True):
            np.testing.assert_allclose(covariance, expected[np.ix_(slots, slots)], atol=1e-4)


def test_a_long_step_is_shortened_until_the_posterior_rises() -> None:
    """Far from the answer curvature says little, and a whole Newton step would fly off."""
    columns = columns_of(ALONE)
    votes = Likelihood(columns, first_guess(columns, "davidson"), np.zeros(1), np.zeros(columns.cells), "davidson", 1)
    prior = Prior(0.0, 1e4, np.zeros((0, 0)), 1.0, np.zeros(1), 0.0)
    strength, means = np.linspace(-40, 40, 8), np.zeros(0)
    for _ in range(60):
        posterior = newton_step(strength, means, prior, votes)
        strength, means = posterior.strength, posterior.means
    assert posterior.error.max() < 1e-9


def test_a_variance_scored_on_known_values_is_theirs() -> None:
    values = np.array([3.0, -1.0, 2.0, 0.5])
    variance = 1.0
    for _ in range(50):
        variance = scored(variance, float((values**2).sum()), 4, 4.0, 1.0, 0.0, 1.0)
    assert variance == pytest.approx((values**2).mean())


# What it becomes when something is missing.


@pytest.mark.parametrize("models", [(), tuple(f"m{i}" for i in range(8))])
def test_one_prompt_without_annotators_and_ties_is_ridge_bradley_terry(models: tuple[str, ...]) -> None:
    """With Laplace's approximation it is so exactly, the ridge being one over the whole prior variance."""
    number = np.arange(8, dtype=np.int32) if models else np.full(8, -1, dtype=np.int32)
    keep = ALONE.outcome < 2
    votes = replace(
        ALONE,
        response_model=number,
        models=models,
        sides_known=np.zeros(len(keep), dtype=np.bool_),
    )
    fit = Hierarchical(nodes=1).fit(votes)
    assert fit.converged.all()
    ridge = 1 / (fit.prior.variance + fit.prior.mean_variance)
    np.testing.assert_allclose(fit.strength, BradleyTerry(ridge)(votes).scores, atol=1e-4)
    assert kendall_tau(Hierarchical().fit(votes).strength, fit.strength, votes.offsets)[0] > 0.9


def test_anonymous_votes_have_one_annotator_of_discrimination_1() -> None:
    votes = replace(world().votes, annotator=np.full_like(world().votes.annotator, -1), annotators=())
    fit = Hierarchical().fit(votes)
    assert fit.annotators.value[-1, 0] == pytest.approx(1)
    assert len(fit.discrimination) == 0
    assert fit.converged.all()
    assert tau(fit.strength, world()) > tau(BradleyTerry()(votes).scores, world())


def test_responses_of_no_model_share_one_variance() -> None:
    votes = replace(world().votes, response_model=np.full_like(world().votes.response_model, -1), models=())
    fit = Hierarchical().fit(votes)
    assert fit.prior.mean_variance == 0
    assert len(fit.model_mean) == 0
    assert fit.converged.all()
    assert tau(fit.strength, world()) > tau(BradleyTerry()(votes).scores, world())


def test_without_ties_nobody_ties() -> None:
    fit = Hierarchical().fit(world(ties=0.0).votes)
    assert fit.tie_share.max() < 1e-12


def test_unknown_sides_have_no_bias_and_no_meaning() -> None:
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
    assert np.array_equal(Hierarchical().fit(same).strength, Hierarchical().fit(votes).strength)


def test_a_ranking_of_k_counts_as_k_less_1_votes() -> None:
    rows = [("p", "a", "b", "left"), ("p", "a", "c", "left"), ("p", "b", "c", "left"), ("p", "a", "b", "right")]
    votes = replace(votes_from(rows), group=np.array([5, 5, 5, -1], dtype=np.int32))
    assert votes.group_share.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1])
    pair = replace(votes, group=np.array([0, 1, 2, 2], dtype=np.int32))
    assert pair.group_share.tolist() == [1, 1, 1, 1]


@settings(max_examples=15, deadline=None)
@given(votes=prompt_sets())
def test_scores_are_finite_whatever_the_graph(votes: VoteArrays) -> None:
    ranking = Hierarchical()(votes)
    assert np.isfinite(ranking.scores).all()
    assert ranking.converged.all()


@pytest.mark.parametrize("ties", TIES)
def test_voteless_prompts_and_no_prompts_are_answered(ties: TieModel) -> None:
    silent = Hierarchical(ties)(votes_from([], silent=[("p", "a"), ("p", "b"), ("q", "c")]))
    assert silent.scores.tolist() == [0, 0, 0]
    assert silent.converged.all()
    assert len(Hierarchical(ties)(votes_from([])).scores) == 0


# Symmetries.


def test_the_same_votes_give_the_same_bytes() -> None:
    assert Hierarchical().fit(world().votes).strength.tobytes() == Hierarchical().fit(world().votes).strength.tobytes()


def test_renumbering_responses_renumbers_the_ranking() -> None:
    votes = world().votes
    renumbered, new = relabelled(votes, seed=1)
    model = np.empty_like(votes.response_model)
    model[new] = votes.response_model
    fit = Hierarchical().fit(replace(renumbered, response_model=model))
    np.testing.assert_allclose(fit.strength[new], Hierarchical().fit(votes).strength, atol=1e-8)


def test_exchanging_the_sides_turns_the_biases_and_nothing_else() -> None:
    votes = world().votes
    mirrored = replace(reversed_votes(votes), left=votes.right, right=votes.left)
    fit, other = Hierarchical().fit(votes), Hierarchical().fit(mirrored)
    np.testing.assert_allclose(other.strength, fit.strength, atol=1e-8)
    np.testing.assert_allclose(other.left_bias, -fit.left_bias, atol=1e-8)
    np.testing.assert_allclose(other.discrimination, fit.discrimination, atol=1e-8)


def test_a_vote_of_weight_2_is_two_votes() -> None:
    votes = world().votes
    twice = np.repeat(np.arange(len(votes.left)), 2)
    columns = ("left", "right", "outcome", "weight", "sides_known", "annotator", "group")
    repeated = replace(votes, **{name: getattr(votes, name)[twice] for name in columns})
    heavy = Hierarchical().fit(replace(votes, weight=votes.weight * 2))
    np.testing.assert_allclose(Hierarchical().fit(repeated).strength, heavy.strength, atol=1e-8)


# What it finds and gains.


@pytest.mark.parametrize("ties", TIES)
def test_it_comes_closer_to_the_truth_than_bradley_terry(ties: TieModel) -> None:
    ranking = Hierarchical(ties)(world().votes)
    assert ranking.converged.all()
    assert tau(ranking.scores, world()) > tau(BradleyTerry()(world().votes).scores, world()) + 0.03


def test_spammers_have_discrimination_near_0() -> None:
    made = world(votes_per_pair=4.0)
    fit, spammer = Hierarchical().fit(made.votes), made.annotators.spammer
    busy = np.bincount(made.annotator, minlength=25) > 100
    assert fit.discrimination[spammer & busy].max() < 0.2
    assert np.median(fit.discrimination[~spammer & busy]) > 0.9
    assert np.corrcoef(fit.discrimination[busy], made.annotators.discrimination[busy])[0, 1] > 0.9


def test_biases_ties_and_variances_are_found() -> None:
    made = world(votes_per_pair=6.0, prompts=60, left_bias=0.6, spammers=0.0, seed=1)
    fit = Hierarchical().fit(made.votes)
    assert fit.annotators.mean[BIAS] == pytest.approx(0.6, abs=0.15)
    assert fit.annotators.mean[TIE] == pytest.approx(np.log(2 * 0.15 / 0.85 * np.cosh(0.3)), abs=0.15)
    unit = made.annotators.discrimination.mean()  # strengths are told for a mean discrimination of 1
    own = made.responses.strength - made.responses.model_strength[made.responses.model]
    assert np.sqrt(fit.prior.variance) == pytest.approx(unit * own.std(), rel=0.1)
    assert np.corrcoef(fit.model_mean, made.responses.model_strength)[0, 1] > 0.95


def test_deviations_tell_how_far_the_truth_is() -> None:
    made = world(votes_per_pair=3.0)
    fit = Hierarchical().fit(made.votes)
    truth = made.responses.strength * made.annotators.discrimination.mean()
    centred = truth - truth.mean(axis=1, keepdims=True)
    found = fit.strength.reshape(truth.shape)
    error = found - found.mean(axis=1, keepdims=True) - centred
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((fit.deviation**2).mean()), rel=0.2)


def moving_together() -> tuple[VoteArrays, np.ndarray]:
    """Votes where the first half of the models rises on the prompts on which the second half falls."""
    made, dice = world(), np.random.default_rng(5)
    model = made.responses.model
    strength = np.where(model < 5, 1, -1) * dice.normal(0, 1.2, (40, 1)) + dice.normal(0, 0.5, model.shape)
    gap = strength.ravel()[made.left] - strength.ravel()[made.right]
    return replace(made.votes, outcome=draw_outcomes(dice, gap, made.annotators, made.annotator)), strength.ravel()


def test_models_that_move_together_are_found_and_used() -> None:
    votes, truth = moving_together()
    fit = Hierarchical().fit(votes)
    assert fit.converged.all()
    assert fit.prior.shrinkage < 0.5
    assert (fit.prior.covariance[:5, :5] > 0).all()
    assert (fit.prior.covariance[:5, 5:] < 0).all()
    alone = replace(votes, response_model=np.full_like(votes.response_model, -1), models=())
    gain = kendall_tau(fit.strength, truth, votes.offsets) - kendall_tau(
        Hierarchical().fit(alone).strength, truth, votes.offsets
    )
    assert np.nanmean(gain) > 0.02


def test_a_prompt_on_which_people_often_tie_is_told_from_one_of_close_responses() -> None:
    """On half of the prompts a third of all votes, whatever the gap, turn into ties."""
    made = world(votes_per_pair=4.0)
    prompt = made.votes.response_prompt[made.left]
    tied = (prompt < 20) & (np.random.default_rng(2).random(len(prompt)) < 0.33)
    votes = replace(made.votes, outcome=np.where(tied, 2, made.outcome).astype(np.int8))
    fit, before = Hierarchical().fit(votes), Hierarchical().fit(made.votes)
    assert fit.converged.all()
    assert fit.prompt_tie[:20].min() > fit.prompt_tie[20:].max()
    scale = fit.prior.log_scale
    assert scale[20:].mean() - scale[:20].mean() < 0.2
    assert np.abs(before.prompt_tie).max() < 0.2
    assert fit.prompt_tie[:20].mean() - fit.prompt_tie[20:].mean() > 0.5


def test_models_that_do_not_move_together_are_left_alone() -> None:
    fit = Hierarchical().fit(world().votes)
    assert fit.prior.shrinkage == 1
    assert np.array_equal(fit.prior.covariance, fit.prior.variance * np.eye(10))


def test_few_prompts_shrink_correlations_hard() -> None:
    votes, _ = moving_together()
    assert Hierarchical().fit(votes.of_prompts(np.arange(40) < 3)).prior.shrinkage > 0.75


# How it ends.


def test_mixing_finds_where_a_creeping_linear_round_would_rest() -> None:
    """Strengths that go 5% of the way to their rest each round, and as slowly back and forth, within 12 rounds."""
    rest, pace = np.linspace(-1, 1, len(ALONE.responses)), np.resize([0.05, 1.9, 1.0], len(ALONE.responses))
    state, mixing = first_state(columns_of(ALONE), "davidson"), Mixing()
    for _ in range(12):
        new = state._replace(strength=state.strength + pace * (rest - state.strength))
        state = mixing.next(state, new, "davidson")
    np.testing.assert_allclose(state.strength, rest, atol=1e-6)


def test_a_state_is_its_vector() -> None:
    columns = columns_of(SMALL)
    state = first_state(columns, "davidson")._replace(prior=small_prior(), means=np.array([0.1, -0.2, 0.3]))
    same = state.at(state.vector(), "davidson")
    np.testing.assert_allclose(same.prior.covariance, SHARED)
    np.testing.assert_allclose(same.vector()[:20], state.vector()[:20])
    np.testing.assert_allclose(same.annotators.value, state.annotators.value)
    assert same.ties.variance == pytest.approx(state.ties.variance)


def test_many_prompts_start_from_a_part_and_rest_where_all_would(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Hierarchical().fit(world().votes)
    monkeypatch.setattr(hierarchical_ranker, "SAMPLE", 10)
    again = Hierarchical().fit(world().votes)
    assert again.converged.all()
    assert not np.array_equal(again.strength, fit.strength)
    np.testing.assert_allclose(again.strength, fit.strength, atol=0.02)


def test_rest_does_not_depend_on_how_it_was_reached() -> None:
    close = Hierarchical(tolerance=1e-6).fit(world().votes)
    assert close.converged.all()
    np.testing.assert_allclose(Hierarchical().fit(world().votes).strength, close.strength, atol=0.02)


def test_a_fit_cut_short_says_so() -> None:
    fit = Hierarchical(max_iterations=2).fit(world().votes)
    assert not fit.converged.any()


def test_hyperparameters_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="davidson or rao-kupper"):
        Hierarchical("coin")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tolerance above 0"):
        Hierarchical(tolerance=0.0)


def test_annotators_without_votes_stay_at_the_prior() -> None:
    votes = replace(world().votes, annotators=(*world().votes.annotators, "newcomer"))
    people: Annotators = Hierarchical().fit(votes).annotators
    np.testing.assert_allclose(people.value[-2, 1:], people.mean[1:], atol=1e-3)
