"""Style control in simulated worlds: votes reward length by half a logit per doubling, and strengths do not.

    python -m benchmarks.control --seeds 12

"oracle": the same votes cast without regard to length. The exit code is 1 if fewer than 75% of the 90% intervals cover
the effect, or if the controlled tau is more than .015 below the oracle's on average.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

from curate.array_types import Float
from curate.evaluation.agreement import kendall_tau
from curate.rankers.hierarchical import Hierarchical
from curate.simulation.world import Annotators, simulate_world
from curate.votes.arrays import LEFT, RIGHT, TIE, VoteArrays
from schemas.config import SimulateConfig

EFFECT = 0.5
"""Logits per doubling, for an annotator of discrimination 1."""
TIES = 0.12
Z = 1.645


def cast(votes: VoteArrays, annotators: Annotators, perceived: Float, rng: np.random.Generator) -> VoteArrays:
    """The votes with outcomes drawn from Davidson's model. perceived: (R,) logits."""
    d = annotators.discrimination[votes.annotator] * (perceived[votes.left] - perceived[votes.right])
    weight = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full(len(d), 2 * TIES / (1 - TIES))])
    point = rng.random(len(d)) * weight.sum(axis=0)
    outcome = np.select([point < weight[0], point < weight[0] + weight[1]], [LEFT, RIGHT], TIE)
    return replace(votes, outcome=outcome.astype(np.int8))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=150)
    arguments = parser.parse_args()
    print(f"{'seed':>4} {'true effect':>11} {'estimate':>9} {'90% interval':>16}   tau: plain controlled oracle")
    covered, rows = 0, []
    for seed in range(arguments.seeds):
        rng = np.random.default_rng(seed)
        world = simulate_world(SimulateConfig(prompts=arguments.prompts, models=12, annotators=80, seed=seed))
        votes, strength = world.votes, world.responses.strength.ravel()
        doublings = rng.normal(0, 0.7, len(strength)) + rng.normal(0, 0.7, 12)[votes.response_model]
        biased = cast(votes, world.annotators, strength + EFFECT * doublings, rng)
        controlled = Hierarchical().fit(replace(biased, covariates=doublings[:, None], covariate_names=("length",)))
        others = Hierarchical().fit(biased), Hierarchical().fit(cast(votes, world.annotators, strength, rng))
        taus = [
            float(np.nanmean(kendall_tau(fit.strength, strength, votes.offsets)))
            for fit in (others[0], controlled, others[1])
        ]
        truth = EFFECT * float(world.annotators.discrimination[votes.annotator].mean())  # for the mean annotator
        estimate, error = float(controlled.effect.mean[0]), float(np.sqrt(controlled.effect.covariance[0, 0]))
        covered += abs(estimate - truth) <= Z * error
        rows.append(taus)
        interval = f"{estimate - Z * error:.3f} to {estimate + Z * error:.3f}"
        print(f"{seed:4} {truth:11.3f} {estimate:9.3f} {interval:>16}        " + " ".join(f"{tau:.3f}" for tau in taus))
    plain, found, oracle = np.mean(rows, axis=0)
    good = covered >= 0.75 * arguments.seeds and found >= oracle - 0.015
    print(f"{'PASS' if good else 'FAIL'}: covered {covered} of {arguments.seeds}; ", end="")
    print(f"mean tau plain {plain:.3f}, controlled {found:.3f}, oracle {oracle:.3f}")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
