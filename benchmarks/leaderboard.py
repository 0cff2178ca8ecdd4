"""How often the leaderboard calls equal models different, and what it finds where they differ.

    python -m benchmarks.leaderboard --seeds 200

Worlds of equal models (every significant difference is an error; the family-wise rate should be at most 5%) and worlds
of different models (the share of pairs found different, and of those the share with the wrong sign). "naive" treats
votes as independent: the usual standard errors of Bradley-Terry.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np

from curate.evaluation.leaderboard import leaderboard
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig

SHAPES = ((13, 19), (60, 19), (13, 59), (450, 19))
"""(prompts, models)"""


def as_independent(votes: VoteArrays) -> VoteArrays:
    """The same votes as anonymous ones on one prompt: nothing is left to cluster by."""
    models = len(votes.models)
    return replace(
        votes,
        left=votes.response_model[votes.left],
        right=votes.response_model[votes.right],
        annotator=np.full(len(votes.left), -1, dtype=np.int32),
        response_prompt=np.zeros(models, dtype=np.int32),
        response_model=np.arange(models, dtype=np.int32),
        prompts=("all",),
        responses=votes.models,
    )


def found(world: World, votes: VoteArrays) -> tuple[float, float]:
    """Share of pairs that are significant, and of those the share whose sign is wrong."""
    board = leaderboard(votes)
    strength = dict(zip(world.models, world.responses.model_strength, strict=True))
    truth = np.array([strength[name] for name in board.frame["model"]])
    i, j = np.triu_indices(len(truth), 1)
    pairs = board.significant[i, j]
    wrong = pairs & (truth[i] < truth[j])
    return float(pairs.mean()), float(wrong.sum() / max(pairs.sum(), 1))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    arguments = parser.parse_args()
    print(f"{'prompts':>7} {'models':>6} {'method':<8} {'any false':>9} {'found':>6} {'wrong':>6} {'seconds':>7}")
    for prompts, models in SHAPES:
        for name, view in (("robust", None), ("naive", as_independent)):
            errors, powers, wrong, seconds = 0, [], [], 0.0
            seeds = arguments.seeds if prompts < 100 else max(2, arguments.seeds // 8)
            for seed in range(seeds):
                for spread in (0.0, 1.0):
                    config = SimulateConfig.model_validate(
                        {"prompts": prompts, "models": models, "seed": seed, "model_sd": spread}
                    )
                    world = simulate_world(config)
                    votes = view(world.votes) if view else world.votes
                    start = time.perf_counter()
                    share, mistaken = found(world, votes)
                    seconds += time.perf_counter() - start
                    if spread:
                        powers.append(share)
                        wrong.append(mistaken)
                    else:
                        errors += share > 0
            print(
                f"{prompts:7} {models:6} {name:<8} {errors / seeds:9.3f} {np.mean(powers):6.3f} {np.mean(wrong):6.3f} "
                f"{seconds / seeds / 2:7.3f}"
            )


if __name__ == "__main__":
    main()
