"""Calibration where the votes of a sitting share errors of perception, and where they do not.

    python -m benchmarks.calibration --world sittings --seeds 12

The main world: 300 prompts × 12 responses, three sittings per prompt, each one annotator on all ten pairs of five
responses. The unit is a logit: strengths have standard deviations 1.5 (models) and 2, errors of perception 3. The other
worlds change one thing each and take a quarter of the seeds. For each: Kendall's tau and its expectation, the expected
calibration error of P(i beats j), the share of correct orders among those stated with more than 95%, and the coverage
of 90% intervals of ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.evaluation.agreement import kendall_tau
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit
from curate.simulation.world import World, simulate_world
from curate.uncertainty.intervals import rank_intervals
from curate.uncertainty.posterior import beats
from schemas.config import SimulateConfig

MAIN = {
    "prompts": 300,
    "models": 12,
    "annotators": 60,
    "activity_sd": 0.5,
    "spammers": 0.0,
    "discrimination_sd": 0.3,
    "ties": 0.12,
    "left_bias": 0.0,
    "model_sd": 1.5,
    "interaction_sd": 2.0,
    "sittings_per_prompt": 3,
    "responses_per_sitting": 5,
    "perception_error": 3.0,
}
SITTINGS, ALONE = "sittings", "the same errors, independent per vote"
WORLDS: dict[str, dict[str, object]] = {
    SITTINGS: {},
    ALONE: {"perception_unit": "vote"},
    "no errors": {"perception_error": 0.0},
    "errors 1": {"perception_error": 1.0},
    "errors 6": {"perception_error": 6.0},
    "one sitting": {"sittings_per_prompt": 1},
    "one sitting, no errors": {"sittings_per_prompt": 1, "perception_error": 0.0},
    "two sittings": {"sittings_per_prompt": 2},
    "ten sittings": {"sittings_per_prompt": 10},
    "5 responses": {"models": 5, "responses_per_sitting": 4},
    "19 responses": {"models": 19},
    "40 responses, 8 a sitting": {"models": 40, "responses_per_sitting": 8, "prompts": 150},
    "30 prompts": {"prompts": 30},
    "500 prompts": {"prompts": 500},
}
BINS = 10


class Measures(NamedTuple):
    """Of one fit."""

    tau: float
    expected_tau: float
    calibration_error: float
    certain: float
    """Share of correct orders of pairs whose order is stated with more than 95%."""
    stated: float
    """Their mean stated probability."""
    coverage: float
    error_sd: float
    """Estimated standard deviation of the errors of perception, logits."""


def measure(world: World, fit: HierarchicalFit) -> Measures:
    """Compare a fit with the true strengths."""
    truth, votes = world.responses.strength, world.votes
    i, j = np.triu_indices(truth.shape[1], 1)
    first = beats(fit.strength.reshape(truth.shape), fit.covariance[0])[:, i, j].ravel()
    stated = np.maximum(first, 1 - first)
    right = (first > 0.5) == (truth[:, i] > truth[:, j]).ravel()
    place = np.minimum((BINS * (2 * stated - 1)).astype(np.int64), BINS - 1)
    certain = stated > 0.95
    best, worst = rank_intervals(votes, fit.strength, fit.covariance, votes.response_prompt.astype(np.int64))
    rank = world.responses.rank.ravel()
    return Measures(
        tau=float(np.nanmean(kendall_tau(fit.strength, truth.ravel(), votes.offsets))),
        expected_tau=float((2 * stated - 1).mean()),
        calibration_error=float(np.abs(np.bincount(place, stated - right)).sum() / len(stated)),
        certain=float(right[certain].mean()) if certain.any() else np.nan,
        stated=float(stated[certain].mean()) if certain.any() else np.nan,
        coverage=float(((best <= rank) & (rank <= worst)).mean()),
        error_sd=float(np.sqrt(fit.prior.error_variance)),
    )


def run(seeds: int, first_seed: int = 0) -> int:
    """Print the table and PASS or FAIL for each goal; return 1 if one is missed."""
    header = ("tau", "expected", "ECE", "max ECE", "> .95", "stated", "coverage", "errors", "independent: tau", "ECE")
    print(
        f"{'world':<40}" + "".join(f"{name:>10}" for name in header[:8]) + "".join(f"{name:>18}" for name in header[8:])
    )
    met = True
    for name, changes in WORLDS.items():
        number = seeds if name in (SITTINGS, ALONE) else max(1, seeds // 4)
        found, plain = [], []
        for seed in range(first_seed, first_seed + number):
            world = simulate_world(SimulateConfig.model_validate({**MAIN, **changes, "seed": seed}))
            found.append(measure(world, Hierarchical().fit(world.votes)))
            plain.append(measure(world, Hierarchical(errors=False).fit(world.votes)))
        mean, old = (Measures(*np.nanmean(of, axis=0).tolist()) for of in (found, plain))
        highest = max(of.calibration_error for of in found)
        figures = (*mean[:3], highest, *mean[3:])
        print(
            f"{name:<40}" + "".join(f"{x:>10.3f}" for x in figures) + f"{old.tau:>18.3f}{old.calibration_error:>18.3f}"
        )
        if name in (SITTINGS, ALONE):
            met &= report_goals(name, mean, highest, old)
    return 0 if met else 1


def report_goals(name: str, mean: Measures, highest: float, old: Measures) -> bool:
    """Print PASS or FAIL for each goal of a world. old: where votes are taken for independent."""
    error, expected = mean.calibration_error, abs(mean.expected_tau - mean.tau)
    goals = {
        SITTINGS: {
            f"mean calibration error {error:.3f}, at most .018": error <= 0.018,
            f"largest calibration error {highest:.3f}, at most .03": highest <= 0.03,
            f"right above .95: {mean.certain:.3f}, within .015 of {mean.stated:.3f}": abs(mean.certain - mean.stated)
            <= 0.015,
            f"coverage {mean.coverage:.3f}, from .93 to .98": 0.93 <= mean.coverage <= 0.98,
            f"expected tau {expected:.3f} from tau, at most .03": expected <= 0.03,
        },
        ALONE: {
            f"mean calibration error {error:.3f}, at most .012": error <= 0.012,
            f"tau {mean.tau:.3f}, at most .004 below {old.tau:.3f}": mean.tau >= old.tau - 0.004,
        },
    }[name]
    for text, good in goals.items():
        print(f"  {'PASS' if good else 'FAIL'}  {text}")
    return all(goals.values())
