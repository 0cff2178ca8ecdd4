"""Overdispersion: measured between halves of the annotators, and everything that is widened by it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from curate.array_types import Float
from curate.denoising.ranking import rank_votes
from curate.evaluation.cross_validation import calibration_levels
from curate.evaluation.overdispersion import overdispersion, widened, widened_fit
from curate.rankers.hierarchical import Hierarchical, drawn_votes, evidence_of, fit_of_prompts
from curate.rankers.win_rate import WinRate
from curate.uncertainty.bootstrap import bootstrap_ranks
from curate.uncertainty.posterior import beats
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from schemas.config import DenoiseConfig

PROMPTS, RESPONSES, PEOPLE, TOGETHER = 120, 8, 40, 5


class Crowd(NamedTuple):
    """Votes, and the true strengths (PROMPTS, RESPONSES)."""

    votes: VoteArrays
    truth: Float


@cache
def crowd(*, shared_error: bool, seed: int = 0) -> Crowd:
    """Four annotators per prompt judge all pairs of five responses, each seeing a strength with an error.

    The error of a response is the annotator's own for all its pairs if ``shared_error``, else drawn anew for each vote.
    Each vote is a group of its own, so that rankers take it for a sitting of its own.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.0, 1.0, (PROMPTS, RESPONSES))
    i, j = np.triu_indices(TOGETHER, 1)
    prompt, left, right, won, annotator = [], [], [], [], []
    for p in range(PROMPTS):
        for k, person in enumerate(rng.choice(PEOPLE, 4, replace=False)):
            shown = (2 * k + np.arange(TOGETHER)) % RESPONSES  # so that every response has votes
            error = rng.normal(0.0, 1.2, (2, TOGETHER))
            gap = (
                error[0, i] - error[0, j] if shared_error else rng.normal(0.0, 1.2, len(i)) - rng.normal(0, 1.2, len(i))
            )
            gap += truth[p, shown[i]] - truth[p, shown[j]]
            prompt += [f"p{p:03d}"] * len(i)
            left += [f"p{p:03d}-{n}" for n in shown[i]]
            right += [f"p{p:03d}-{n}" for n in shown[j]]
            won += np.where(rng.random(len(i)) < 1 / (1 + np.exp(-2 * gap)), LEFT, RIGHT).tolist()
            annotator += [f"a{person:02d}"] * len(i)
    votes = VoteArrays.from_columns(
        prompt=prompt, left=left, right=right, outcome=won, annotator=annotator, group=np.arange(len(won))
    )
    return Crowd(votes, truth)


def calibration_error(truth: Float, mean: Float, covariance: Float) -> float:
    """The ECE of P(i beats j)."""
    i, j = np.triu_indices(RESPONSES, 1)
    probability = beats(mean.reshape(truth.shape), covariance)[:, i, j].ravel()
    right = (truth[:, i] > truth[:, j]).ravel() == (probability > 0.5)
    stated = np.maximum(probability, 1 - probability)
    bins = (stated * 20).astype(int)
    return sum(abs((stated - right)[bins == k].sum()) for k in np.unique(bins)) / len(right)


@pytest.mark.parametrize("seed", range(3))
def test_independent_votes_have_a_factor_of_1(seed: int) -> None:
    votes = crowd(shared_error=False, seed=seed).votes
    found = overdispersion(votes, Hierarchical().fit(votes))
    assert found.factor == pytest.approx(1, abs=0.12)
    assert found.prompts == PROMPTS


@pytest.mark.parametrize("seed", range(2))
def test_errors_that_an_annotator_repeats_are_found_and_the_widened_posterior_is_calibrated(seed: int) -> None:
    votes, truth = crowd(shared_error=True, seed=seed)
    fit = Hierarchical().fit(votes)
    found = overdispersion(votes, fit)
    assert found.factor is not None
    assert found.factor > 1.5
    assert found.significant
    assert found.widening >= found.factor
    before = calibration_error(truth, fit.strength, fit.covariance[0])
    after = calibration_error(truth, fit.strength, widened(fit, found).covariance[0])
    assert before > 0.06
    assert after < 0.03


def test_the_factor_is_deterministic_and_hardly_depends_on_the_order_of_votes() -> None:
    votes = crowd(shared_error=True).votes
    order = np.random.default_rng(0).permutation(len(votes.left))
    found = [overdispersion(given, Hierarchical().fit(given)) for given in (votes, votes, votes.of_votes(order))]
    assert found[0] == found[1]
    assert found[2].factor == pytest.approx(found[0].factor, abs=4 * (found[0].factor_se or 0))  # other halves


def test_votes_that_the_model_explains_have_a_factor_of_1() -> None:
    votes = replace(
        crowd(shared_error=True).votes, group=np.full(len(crowd(shared_error=True).votes.left), -1, np.int32)
    )
    found = overdispersion(votes, Hierarchical().fit(votes))
    assert found.factor == pytest.approx(1, abs=0.2)
    assert found.widening == 1


def test_evidence_of_the_halves_adds_up_to_the_posterior_of_the_fit() -> None:
    votes = crowd(shared_error=False).votes
    prompts = np.arange(PROMPTS) % 2 == 0
    fit = fit_of_prompts(Hierarchical(mixtures=False).fit(votes), votes, prompts)
    votes = votes.of_prompts(prompts)
    second = np.arange(len(votes.left)) % 3 == 0
    one, two = (evidence_of(fit, votes, part) for part in (~second, second))
    found = np.linalg.inv(one.information[0] + two.information[0] + one.prior_precision[0])
    assert np.abs(found - fit.covariance[0]).max() < 1e-4
    mean = (found @ (one.linear + two.linear).reshape(-1, RESPONSES, 1)).ravel()
    assert np.abs(mean - fit.strength).max() < 1e-3


def test_drawn_votes_have_the_probabilities_of_the_fit() -> None:
    votes = crowd(shared_error=False).votes
    fit = Hierarchical(mixtures=False, errors=False).fit(votes)
    sure = replace(fit, covariance=tuple(np.zeros_like(matrices) for matrices in fit.covariance))
    rng = np.random.default_rng(0)
    share = np.mean([drawn_votes(sure, votes, rng).outcome == LEFT for _ in range(200)], axis=0)
    people = fit.annotators.value[votes.annotator]
    advantage = people[:, 0] * (fit.strength[votes.left] - fit.strength[votes.right]) + people[:, 1]
    z = (share - 1 / (1 + np.exp(-advantage))) / np.sqrt(0.25 / 200)
    assert np.abs(z).max() < 5


def test_votes_without_a_second_annotator_have_no_factor() -> None:
    votes = VoteArrays.from_columns(prompt=["p"], left=["a"], right=["b"], outcome=["left"], annotator=["x"])
    found = widened_fit(votes)[1]
    assert (found.factor, found.widening) == (None, 1.0)


@pytest.mark.parametrize("ranker", ["hierarchical", "bradley-terry"])
def test_dependent_votes_have_wider_intervals_by_every_ranker(ranker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    votes = crowd(shared_error=True).votes.of_prompts(np.arange(PROMPTS) < 60)
    config = DenoiseConfig(ranker=ranker)
    wide = rank_votes(votes, config)
    assert wide.overdispersion.widening > 1.5
    none = wide.overdispersion.model_copy(update={"widening": 1.0})
    monkeypatch.setattr("curate.denoising.ranking.overdispersion", lambda *_: none)
    narrow = rank_votes(votes, config)
    assert (narrow.rank == wide.rank).all()
    assert (wide.worst_rank - wide.best_rank).mean() > 1.1 * (narrow.worst_rank - narrow.best_rank).mean()
    assert np.nanmean(wide.expected_tau) < np.nanmean(narrow.expected_tau) - 0.05
    ratio = wide.posterior.strength_se / narrow.posterior.strength_se
    assert ratio == pytest.approx(np.sqrt(wide.overdispersion.widening))


def test_the_bootstrap_of_dependent_votes_has_a_larger_variance() -> None:
    votes = VoteArrays.from_columns(
        prompt=["p"] * 40, left=["a"] * 40, right=["b"] * 40, outcome=["left"] * 28 + ["right"] * 12
    )
    shares = [
        (
            bootstrap_ranks(
                votes, WinRate(), group=votes.response_prompt, pools=False, draws=2000, overdispersion=factor, seed=0
            )[0, :, 0]
            > 1
        )
        for factor in (1.0, 4.0)
    ]
    # z = .4 √40 / √.84 / √factor standard errors from an even score
    assert shares[0].mean() == pytest.approx(0.003, abs=0.005)
    assert shares[1].mean() == pytest.approx(0.08, abs=0.03)


@pytest.mark.parametrize("responses", [("a", "b"), ("a", "b", "c", "d")], ids=["one pair", "disconnected"])
def test_the_factor_is_unknown_where_all_agree(responses: tuple[str, ...]) -> None:
    left, right = [list(responses[start::2]) * 8 for start in (0, 1)]
    people = [f"w{i}" for i in range(8) for _ in responses[::2]]
    votes = VoteArrays.from_columns(
        prompt=["p"] * len(left), left=left, right=right, outcome=["left"] * len(left), annotator=people
    )
    assert overdispersion(votes, Hierarchical().fit(votes)).factor is None


def test_calibration_levels_are_those_around_60_80_and_95_percent() -> None:
    odds = np.array([0.1, -0.4, 1.5, -1.5, 5.0])  # probabilities .52, .60, .82, .82, .99
    left = np.array([True, True, True, True, True])
    levels = calibration_levels(odds, left, np.ones(5), np.arange(5))
    assert [level.votes for level in levels] == [2, 2, 1]
    assert [level.observed for level in levels] == [0.5, 0.5, 1.0]
    assert calibration_levels(odds[2:3].repeat(4), left[:4], np.ones(4), np.arange(4))[0].observed_se is None
    assert levels[1].probability == pytest.approx(1 / (1 + np.exp(-1.5)))
