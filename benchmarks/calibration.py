"""Is an item's confidence what it says? P(the labelled best is best) against how often it is, on a simulated world.

python -m benchmarks.calibration --prompts 450 --seed 0
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.confidence import best_probability
from curate.rankers import BradleyTerry, Joint
from curate.simulate import simulate_world
from schemas.config import SimulateConfig

SETS = 8
"""Random sets of four drawn from each prompt."""
EDGES = np.array([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0 + 1e-9])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measures the calibration of confidence.")
    parser.add_argument("--prompts", type=int, default=450)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    world = simulate_world(SimulateConfig(prompts=options.prompts, seed=options.seed))
    votes, truth = world.votes, np.asarray(world.responses.strength).ravel()
    rng = np.random.default_rng(options.seed)
    sets = np.concatenate(
        [
            start + np.stack([rng.permutation(size)[:4] for _ in range(SETS)])
            for start, size in zip(votes.offsets[:-1], np.diff(votes.offsets), strict=True)
        ]
    )
    fit = Joint().fit(votes)
    print(f"{len(votes.left):,} votes, {len(sets):,} random sets of four")
    for name, strength, deviation in (
        ("bradley-terry", *BradleyTerry().posterior(votes)),
        ("joint", fit.strength, fit.deviation),
    ):
        best = strength[sets].argmax(axis=1)
        right = best == truth[sets].argmax(axis=1)
        show(name, best_probability(strength[sets], deviation[sets], best), right)
    return 0


def show(name: str, confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> None:
    """The table of one method: by confidence, how often it was right."""
    place = np.digitize(confidence, EDGES) - 1
    error = 0.0
    print(f"\n{name}: right {right.mean():.3f}, mean confidence {confidence.mean():.3f}")
    for k in np.unique(place):
        here = place == k
        error += here.mean() * abs(confidence[here].mean() - right[here].mean())
        print(
            f"  {EDGES[k]:.1f} to {min(EDGES[k + 1], 1):.1f}  {here.sum():5} sets  "
            f"confidence {confidence[here].mean():.3f}  right {right[here].mean():.3f}"
        )
    print(f"  expected calibration error {error:.3f}")


if __name__ == "__main__":
    sys.exit(main())
