"""Choice of a ranker on small data sets whose conditions stand in one physical order.

    python -m benchmarks.ladder
    python -m benchmarks.ladder --seeds 20

Worlds of 32 prompts × 18 conditions with one vote per pair by 40 annotators, a tenth of them ties. The conditions are
steps of one physical quantity, so that their true order is the same on every prompt; prompts differ in how clearly the
steps are seen (a lognormal factor). tau is Kendall's tau-b to the true order, mean over prompts; accuracy the share of
pairs in the right order. "before": the simplest method within one standard error without model-means among them. Also
worlds of ``curate simulate`` of about this size, whose prompts differ in the order of the models. Exits with 1 if auto
loses more than LOSS of tau against before on any of the worlds, or is below GOAL on the first.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.denoising.ranking import rank_votes
from curate.denoising.selection import choose, chosen
from curate.evaluation.agreement import kendall_tau
from curate.rankers.registry import MODEL_MEANS, POSTERIOR
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig, SimulateConfig

LOSS = 0.01
GOAL = 0.982
"""Accuracy of auto on the ladder with clear steps."""


class Ladder(NamedTuple):
    """A world of conditions in one order."""

    step: float
    """Logits between neighbouring conditions on a prompt of factor 1."""
    scale_sd: float
    """Standard deviation of the logarithm of the prompts' factors."""


LADDERS = {"clear steps": Ladder(0.2, 0.3), "uneven prompts": Ladder(0.2, 0.5), "large steps": Ladder(0.4, 0.3)}
SIMULATED = {
    "simulated, 32 × 18": {"prompts": 32, "models": 18, "annotators": 40},
    "simulated, 20 × 10": {"prompts": 20, "models": 10, "annotators": 20},
    "simulated, consistent models": {"prompts": 60, "models": 12, "annotators": 40, "interaction_sd": 0.4},
    "simulated, videos": {"prompts": 60, "models": 8, "annotators": 40, "video": True},
}


def climb(ladder: Ladder, seed: int, prompts: int = 32, conditions: int = 18) -> tuple[VoteArrays, Float]:
    """Return one vote on each pair of each prompt, and the (R,) true strengths."""
    rng = np.random.default_rng(seed)
    factor = np.exp(rng.normal(0.0, ladder.scale_sd, prompts))
    strength = factor[:, None] * ladder.step * np.arange(conditions)
    i, j = np.triu_indices(conditions, 1)
    prompt, a, b = np.repeat(np.arange(prompts), len(i)), np.tile(i, prompts), np.tile(j, prompts)
    swapped = rng.random(len(prompt)) < 0.5
    left, right = np.where(swapped, b, a), np.where(swapped, a, b)
    annotator, discrimination = rng.integers(0, 40, len(prompt)), rng.lognormal(0.0, 0.4, 40)
    advantage = discrimination[annotator] * (strength[prompt, left] - strength[prompt, right])
    outcome = np.where(rng.random(len(prompt)) < 0.1, 2, advantage < rng.logistic(size=len(prompt)))
    votes = VoteArrays.from_columns(
        prompt=[f"p{p:02}" for p in prompt],
        left=[f"c{c:02}" for c in left],
        right=[f"c{c:02}" for c in right],
        outcome=outcome,
        annotator=[f"a{a:02}" for a in annotator],
    )
    return votes, strength.ravel()


def simulated(changes: dict[str, object], seed: int) -> tuple[VoteArrays, Float]:
    """Return the votes and the true strengths of a simulated world."""
    world = simulate_world(SimulateConfig.model_validate({"seed": seed, **changes}))
    return world.votes, world.responses.strength.ravel()


def measure(votes: VoteArrays, truth: Float) -> dict[str, float]:
    """Return the tau of the choice before and now and of both rankers, and whether model means were chosen."""
    config = DenoiseConfig()

    def tau(method: str) -> float:
        denoised = rank_votes(votes, config, choice=replace(choice, method=method))
        return float(np.nanmean(kendall_tau(denoised.final.scores, truth, votes.offsets)))

    choice = choose(votes, config)
    best, *rest = (score for score in choice.methods if score.method != MODEL_MEANS)
    before = chosen([best.model_copy(update={"log_loss_difference": 0.0, "log_loss_difference_se": 0.0}), *rest])
    of = {name: tau(name) for name in {POSTERIOR, MODEL_MEANS, before, choice.method}}
    return {**of, "before": of[before], "auto": of[choice.method], "chosen": float(choice.method == MODEL_MEANS)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--worlds", nargs="+", choices=(*LADDERS, *SIMULATED), default=[*LADDERS, *SIMULATED], metavar="NAME"
    )
    options = parser.parse_args(arguments)
    print(
        f"{'tau':<30}{POSTERIOR:>14}{MODEL_MEANS:>13}{'before':>9}{'auto':>8}{'accuracy before':>17}{'auto':>8}  chosen"
    )
    goals = []
    for name in options.worlds:
        of_seed = [
            measure(*(climb(LADDERS[name], seed) if name in LADDERS else simulated(SIMULATED[name], seed)))
            for seed in range(options.seeds)
        ]
        keys = (POSTERIOR, MODEL_MEANS, "before", "auto", "chosen")
        mean = {key: float(np.mean([one[key] for one in of_seed])) for key in keys}
        row = f"{name:<30}{mean[POSTERIOR]:>14.4f}{mean[MODEL_MEANS]:>13.4f}{mean['before']:>9.4f}{mean['auto']:>8.4f}"
        print(f"{row}{(1 + mean['before']) / 2:>17.4f}{(1 + mean['auto']) / 2:>8.4f}{mean['chosen']:>8.0%}", flush=True)
        goals.append((mean["auto"] >= mean["before"] - LOSS, f"{name}: auto at least before less {LOSS:g} of tau"))
        if name == next(iter(LADDERS)):
            goals.append(((1 + mean["auto"]) / 2 >= GOAL, f"{name}: accuracy of auto at least {GOAL:g}"))
    for met, text in goals:
        print(f"{'PASS' if met else 'FAIL'}  {text}")
    return 0 if all(met for met, _ in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
