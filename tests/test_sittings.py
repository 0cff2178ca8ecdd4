"""Errors of perception in the hierarchical ranker: calibration where votes of a sitting depend, and where none does."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from curate.evaluation.agreement import kendall_tau
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit
from curate.rankers.hierarchical import ranker as module
from curate.rankers.hierarchical.priors import IDENTIFIED
from curate.simulation.world import World, simulate_world
from curate.uncertainty.intervals import expected_tau
from curate.uncertainty.posterior import beats
from schemas.config import SimulateConfig

SITTINGS = {
    "prompts": 100,
    "models": 8,
    "annotators": 40,
    "spammers": 0.0,
    "discrimination_sd": 0.3,
    "interaction_sd": 2.0,
    "sittings_per_prompt": 3,
    "perception_error": 3.0,
}


@cache
def world(**changes: object) -> World:
    return simulate_world(SimulateConfig.model_validate({**SITTINGS, **changes}))


@cache
def fitted(**changes: object) -> HierarchicalFit:
    return Hierarchical().fit(world(**changes).votes)


def calibration_error(made: World, fit: HierarchicalFit) -> float:
    """Expected calibration error of P(i beats j) over all pairs, ten bins."""
    truth = made.responses.strength
    i, j = np.triu_indices(truth.shape[1], 1)
    stated = beats(fit.strength.reshape(truth.shape), fit.covariance[0])[:, i, j].ravel()
    true = (truth[:, i] > truth[:, j]).ravel()
    place = np.minimum((stated * 10).astype(int), 9)
    error = np.bincount(place, stated - true, 10)
    return float(np.abs(error).sum() / len(stated))


def test_votes_of_a_sitting_leave_the_ranking_calibrated() -> None:
    """With votes treated as independent, or weighted by K − 1, the error is .08 and expected tau .15 too high."""
    made, fit = world(), fitted()
    assert fit.converged.all()
    assert calibration_error(made, fit) < 0.035
    tau = np.nanmean(kendall_tau(fit.strength, made.responses.strength.ravel(), made.votes.offsets))
    stated = np.nanmean(expected_tau(made.votes, fit.strength, fit.strength, fit.covariance))
    assert stated == pytest.approx(tau, abs=0.04)
    apart = Hierarchical().fit(replace(made.votes, annotator=np.full_like(made.annotator, -1), annotators=()))
    assert calibration_error(made, apart) > 0.06


def test_variances_of_strengths_and_of_errors_are_estimated() -> None:
    fit, unit = fitted(), world().annotators.discrimination.mean()
    assert fit.error_ratio_se < IDENTIFIED
    assert np.sqrt(fit.prior.error_variance) == pytest.approx(3.0 * unit, rel=0.25)
    assert np.sqrt(fit.prior.variance) == pytest.approx(2.0 * unit, rel=0.25)


def test_a_group_is_a_sitting_whether_or_not_the_annotator_is_known() -> None:
    votes = world().votes
    _, group = np.unique(np.stack([votes.response_prompt[votes.left], votes.annotator]), axis=1, return_inverse=True)
    grouped = replace(votes, group=group.astype(np.int32))
    np.testing.assert_allclose(Hierarchical().fit(grouped).strength, fitted().strength, atol=1e-6)
    anonymous = replace(grouped, annotator=np.full_like(votes.annotator, -1), annotators=())
    fit = Hierarchical().fit(anonymous)
    assert np.sqrt(fit.prior.error_variance) == pytest.approx(np.sqrt(fitted().prior.error_variance), rel=0.3)
    assert calibration_error(world(), fit) < 0.05


def test_errors_of_each_vote_are_no_errors_of_a_sitting() -> None:
    made = world(perception_unit="vote", prompts=200)
    fit = Hierarchical().fit(made.votes)
    assert fit.prior.error_variance < 0.3 * fit.prior.variance
    assert calibration_error(made, fit) < 0.03


def test_without_a_sitting_of_several_votes_there_is_no_error() -> None:
    votes = replace(world().votes, annotator=np.full_like(world().annotator, -1), annotators=())
    fit = Hierarchical().fit(votes)
    assert fit.prior.error_variance == 0.0
    assert fit.error_ratio_se == 0.0


def test_one_sitting_per_prompt_does_not_identify_the_error_and_widens_the_posterior() -> None:
    made = world(sittings_per_prompt=1, seed=3)
    fit = Hierarchical().fit(made.votes)
    assert fit.error_ratio_se > IDENTIFIED
    assert calibration_error(made, fit) < 0.05


def test_sittings_that_are_too_large_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SITTING_WORK", 1000)
    fit = Hierarchical().fit(world(prompts=20).votes)
    assert fit.prior.error_variance == 0.0
    assert not fit.error_identified


def test_a_refit_on_the_same_votes_gives_the_same_posterior_and_on_fewer_a_wider_one() -> None:
    votes = world().votes
    again = Hierarchical().refit(votes, fitted())
    np.testing.assert_allclose(again.strength, fitted().strength, atol=1e-3)
    half = Hierarchical().refit(votes.of_votes(votes.annotator % 2 == 0), fitted())
    assert half.converged.all()
    assert half.prior.variance == fitted().prior.variance
    assert half.strength_se.mean() > fitted().strength_se.mean()


def test_predictions_of_other_annotators_allow_for_their_errors() -> None:
    votes = world().votes
    stranger = replace(votes, annotator=np.full_like(votes.annotator, -1))
    certain = replace(fitted(), prior=replace(fitted().prior, error_variance=0.0))
    assert np.abs(fitted().log_odds(stranger)).mean() < np.abs(certain.log_odds(stranger)).mean()
