"""CrowdBT: a posterior mode, qualities of annotators, and equality with Bradley-Terry without annotators."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

from curate.evaluation.agreement import kendall_tau
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.crowd_bt import PRIOR_AGREE, PRIOR_DISAGREE, CrowdBT
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig
from tests.strategies import prompt_sets, votes_from

SPAMMED = simulate_world(
    SimulateConfig(prompts=30, models=8, annotators=20, votes_per_pair=4, spammers=0.3, ties=0.0, seed=2)
)


def crowd(seed: int, votes: int = 60) -> VoteArrays:
    """Two prompts of three responses, four annotators, a few ties and anonymous votes."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(votes):
        a, b = rng.choice(3, 2, replace=False)
        better = "left" if (a < b) == (rng.random() < 0.8) else "right"
        rows.append((f"p{rng.integers(2)}", f"r{a}", f"r{b}", rng.choice([better, "tie"], p=[0.9, 0.1])))
    annotator = rng.integers(-1, 4, votes).astype(np.int32)
    return replace(votes_from(rows), annotator=annotator, annotators=("a", "b", "c", "d"))


def log_posterior(parameters: np.ndarray, votes: VoteArrays, ridge: float) -> float:
    """Return the log-posterior, vote by vote. parameters: strengths, then logits of each annotator's η."""
    strength, eta = parameters[: len(votes.responses)], 1 / (1 + np.exp(-parameters[len(votes.responses) :]))
    total = -ridge / 2 * (strength**2).sum() + (PRIOR_AGREE * np.log(eta) + PRIOR_DISAGREE * np.log(1 - eta)).sum()
    for left, right, outcome, annotator in zip(votes.left, votes.right, votes.outcome, votes.annotator, strict=True):
        probability = 1 / (1 + np.exp(strength[right] - strength[left]))
        if outcome >= 2:
            total += (np.log(probability) + np.log(1 - probability)) / 2
        else:
            follows = 1.0 if annotator < 0 else eta[annotator]
            chosen = probability if outcome == 0 else 1 - probability
            total += np.log(follows * chosen + (1 - follows) * (1 - chosen))
    return float(total)


@pytest.mark.parametrize("seed", [0, 1])
def test_result_is_a_mode_of_the_posterior(seed: int) -> None:
    votes = crowd(seed)
    fit = CrowdBT(tolerance=1e-9).fit(votes)
    start = np.concatenate([fit.strength, np.log(fit.quality / (1 - fit.quality))])
    better = minimize(lambda x: -log_posterior(x, votes, 0.1), start, tol=1e-10)
    np.testing.assert_allclose(better.x, start, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(votes=prompt_sets())
def test_without_annotators_it_equals_bradley_terry(votes: VoteArrays) -> None:
    crowd, alone = CrowdBT()(votes), BradleyTerry()(votes)
    np.testing.assert_array_equal(crowd.scores, alone.scores)
    np.testing.assert_array_equal(crowd.cost, alone.cost)


def test_spammers_are_near_one_half_and_others_near_one() -> None:
    fit = CrowdBT().fit(SPAMMED.votes)
    spammer = SPAMMED.annotators.spammer
    assert fit.quality[spammer].max() < 0.75 < 0.85 < fit.quality[~spammer].min()


def test_a_contrary_annotator_has_quality_near_zero() -> None:
    honest = SPAMMED.votes.annotator != int(np.flatnonzero(~SPAMMED.annotators.spammer)[0])
    turned = np.where(honest, SPAMMED.votes.outcome, 1 - SPAMMED.votes.outcome).astype(np.int8)
    fit = CrowdBT().fit(replace(SPAMMED.votes, outcome=turned))
    assert fit.quality[SPAMMED.votes.annotator[~honest][0]] < 0.1


def test_with_spammers_it_comes_closer_to_the_truth_than_bradley_terry() -> None:
    votes, truth = SPAMMED.votes, SPAMMED.responses.strength.ravel()
    tau = [kendall_tau(ranker(votes).scores, truth, votes.offsets).mean() for ranker in (CrowdBT(), BradleyTerry())]
    assert tau[0] > tau[1] + 0.02


def test_too_few_iterations_are_reported() -> None:
    assert not CrowdBT(max_iterations=2)(SPAMMED.votes).converged.any()
    ranking = CrowdBT()(SPAMMED.votes)
    assert ranking.converged.all()
    assert (ranking.n_iter > 2).all()


def test_a_ridge_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="above 0"):
        CrowdBT(ridge=0.0)
