"""CrowdBT: its likelihood is at a mode, honest and contrary annotators are told apart, and without any it is BT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.optimize import minimize

from curate.evaluation.agreement import kendall_tau
from curate.rankers import BradleyTerry, CrowdBT
from curate.rankers.crowd_bt import PRIOR_AGREE, PRIOR_DISAGREE
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig
from tests.strategies import prompt_sets, votes_from

SPAMMED = simulate_world(
    SimulateConfig(prompts=30, models=8, annotators=20, votes_per_pair=4, spammers=0.3, ties=0.0, seed=2)
)


def crowd(seed: int, votes: int = 60) -> VoteArrays:
    """Two prompts of three responses, four annotators, a few ties and anonymous votes."""
    dice = np.random.default_rng(seed)
    rows = []
    for _ in range(votes):
        a, b = dice.choice(3, 2, replace=False)
        better = "left" if (a < b) == (dice.random() < 0.8) else "right"
        rows.append((f"p{dice.integers(2)}", f"r{a}", f"r{b}", dice.choice([better, "tie"], p=[0.9, 0.1])))
    annotator = dice.integers(-1, 4, votes).astype(np.int32)
    return replace(votes_from(rows), annotator=annotator, annotators=("a", "b", "c", "d"))


def log_posterior(parameters: np.ndarray, votes: VoteArrays, ridge: float) -> float:
    """Written out vote by vote. parameters: strengths, then logits of each annotator's η."""
    strength, eta = parameters[: len(votes.responses)], 1 / (1 + np.exp(-parameters[len(votes.responses) :]))
    total = -ridge / 2 * (strength**2).sum() + (PRIOR_AGREE * np.log(eta) + PRIOR_DISAGREE * np.log(1 - eta)).sum()
    for left, right, outcome, who in zip(votes.left, votes.right, votes.outcome, votes.annotator, strict=True):
        chance = 1 / (1 + np.exp(strength[right] - strength[left]))
        if outcome >= 2:
            total += (np.log(chance) + np.log(1 - chance)) / 2
        else:
            follows = 1.0 if who < 0 else eta[who]
            chosen = chance if outcome == 0 else 1 - chance
            total += np.log(follows * chosen + (1 - follows) * (1 - chosen))
    return float(total)


@pytest.mark.parametrize("seed", [0, 1])
def test_it_ends_at_a_mode_of_the_posterior(seed: int) -> None:
    votes = crowd(seed)
    fit = CrowdBT(tolerance=1e-9).fit(votes)
    start = np.concatenate([fit.strength, np.log(fit.quality / (1 - fit.quality))])
    better = minimize(lambda x: -log_posterior(x, votes, 0.1), start, tol=1e-10)
    np.testing.assert_allclose(better.x, start, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(votes=prompt_sets())
def test_without_annotators_it_is_bradley_terry(votes: VoteArrays) -> None:
    crowd, alone = CrowdBT()(votes), BradleyTerry()(votes)
    np.testing.assert_array_equal(crowd.scores, alone.scores)
    np.testing.assert_array_equal(crowd.cost, alone.cost)


def test_spammers_are_near_one_half_and_others_near_one() -> None:
    fit = CrowdBT().fit(SPAMMED.votes)
    spammer = SPAMMED.annotators.spammer
    assert fit.quality[spammer].max() < 0.75 < 0.85 < fit.quality[~spammer].min()


def test_a_contrary_annotator_is_read_the_other_way_round() -> None:
    honest = SPAMMED.votes.annotator != int(np.flatnonzero(~SPAMMED.annotators.spammer)[0])
    turned = np.where(honest, SPAMMED.votes.outcome, 1 - SPAMMED.votes.outcome).astype(np.int8)
    fit = CrowdBT().fit(replace(SPAMMED.votes, outcome=turned))
    assert fit.quality[SPAMMED.votes.annotator[~honest][0]] < 0.1


def test_with_spammers_it_comes_closer_to_the_truth_than_bradley_terry() -> None:
    votes, truth = SPAMMED.votes, SPAMMED.responses.strength.ravel()
    tau = [kendall_tau(ranker(votes).scores, truth, votes.offsets).mean() for ranker in (CrowdBT(), BradleyTerry())]
    assert tau[0] > tau[1] + 0.02


def test_too_few_steps_are_reported_as_not_solved() -> None:
    assert not CrowdBT(max_iterations=2)(SPAMMED.votes).converged.any()
    ranking = CrowdBT()(SPAMMED.votes)
    assert ranking.converged.all()
    assert (ranking.n_iter > 2).all()


def test_a_ridge_of_0_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        CrowdBT(ridge=0.0)
