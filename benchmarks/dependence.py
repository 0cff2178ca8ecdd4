"""Calibration where votes depend on more than the model knows: as they are, and then without copies and widened.

    python -m benchmarks.calibration --world dependence --seeds 4

Each kind of dependence of curate.simulation.dependence, in the campaign of 120 annotators with one vote per pair, and
in sittings (three annotators per prompt, each on all pairs of five of 12 responses). The true strength of a response is
the mean over annotators.
"""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from benchmarks.sittings import MAIN, measure
from curate.annotators.copying import find_copying
from curate.evaluation.overdispersion import overdispersion, widened
from curate.rankers.hierarchical import Hierarchical
from curate.simulation.world import simulate_world
from schemas.choices import Dependence
from schemas.config import SimulateConfig

DESIGNS: dict[str, dict[str, Any]] = {
    "campaign": {"prompts": 150},
    "sittings": {**MAIN, "perception_error": 0.0, "interaction_sd": 1.0, "model_sd": 1.0},
}
MAX_ERROR = 0.03
NAMES = ("copies", "factor", "±", "widening", "ECE before", "ECE after", "coverage before", "after", "tau", "expected")


def run(seeds: int) -> int:
    """Print the table and PASS or FAIL; return 1 if a mean calibration error after widening is above MAX_ERROR."""
    width = [max(10, len(name) + 2) for name in NAMES]
    print(f"{'world':<30}" + "".join(f"{name:>{w}}" for name, w in zip(NAMES, width, strict=True)))
    worst = 0.0
    for design, base in DESIGNS.items():
        for kind in get_args(Dependence):
            mean = np.mean([_figures({**base, "dependence": kind, "seed": seed}) for seed in range(seeds)], axis=0)
            worst = max(worst, float(mean[NAMES.index("ECE after")]))
            cells = (f"{x:>{w}.3f}" for x, w in zip(mean, width, strict=True))
            print(f"{f'{design}, {kind}':<30}" + "".join(cells), flush=True)
    met = worst <= MAX_ERROR
    print(f"{'PASS' if met else 'FAIL'}  largest calibration error after widening {worst:.3f}, at most {MAX_ERROR}")
    return 0 if met else 1


def _figures(config: dict[str, Any]) -> tuple[float, ...]:
    """The columns NAMES of one world."""
    world = simulate_world(SimulateConfig.model_validate(config))
    copied = find_copying(world.votes).copied
    votes, fit = world.votes.of_votes(~copied), Hierarchical().fit(world.votes)
    before = measure(world, fit)
    if copied.any():
        fit = Hierarchical().fit(votes)
    found = overdispersion(votes, fit)
    after = measure(world, widened(fit, found))
    factor, error = (np.nan if x is None else x for x in (found.factor, found.factor_se))
    errors = before.calibration_error, after.calibration_error
    coverage = before.coverage, after.coverage
    return float(copied.mean()), factor, error, found.widening, *errors, *coverage, after.tau, after.expected_tau
