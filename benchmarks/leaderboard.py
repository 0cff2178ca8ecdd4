"""How often the leaderboard calls equal models different, what it finds in others, and what its intervals cover.

    python -m benchmarks.leaderboard --seeds 200
    python -m benchmarks.leaderboard --coverage --seeds 200

Worlds of equal models (every significant difference is an error; the family-wise rate should be at most 5%) and worlds
of different models (the share of pairs found different, and of those the share with the wrong sign). "naive" treats
votes as independent: the usual standard errors of Bradley-Terry.

--coverage: models differ by video, by prompt and by annotator (crossed effects), with three prompts a video. The truth
is the leaderboard of a world of the same models with 40 times as many videos and annotators. The exit code is 1 if the
90% intervals cover it in less than 88% or more than 94% of cases.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import numpy as np

from curate.array_types import Float
from curate.evaluation.leaderboard import leaderboard
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig

SHAPES = ((13, 19), (60, 19), (13, 59), (450, 19))
"""(prompts, models)"""
MODELS = 12
PROMPTS_PER_VIDEO = 3
CROSSED = (
    (150, 60, 9000, (0.0, 0.0, 0.0)),
    (150, 60, 9000, (0.5, 0.5, 0.0)),
    (150, 60, 9000, (0.0, 0.0, 0.5)),
    (150, 60, 9000, (0.7, 0.5, 0.5)),
    (30, 20, 3000, (0.7, 0.5, 0.5)),
    (15, 100, 3000, (0.7, 0.5, 0.3)),
)
"""(videos, annotators, votes, standard deviations of a model's strength by video, prompt and annotator)"""


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


def crossed_world(
    rng: np.random.Generator, mean: Float, *, videos: int, annotators: int, votes: int, deviations: tuple[float, ...]
) -> VoteArrays:
    """Votes on random pairs. deviations: of a model's strength by video, prompt and annotator, logits."""
    models, prompts = len(mean), videos * PROMPTS_PER_VIDEO
    by_video, by_prompt, by_annotator = (
        deviation * rng.normal(size=(count, models))
        for deviation, count in zip(deviations, (videos, prompts, annotators), strict=True)
    )
    prompt, annotator = rng.integers(prompts, size=votes), rng.integers(annotators, size=votes)
    left = rng.integers(models, size=votes)
    right = (left + rng.integers(1, models, size=votes)) % models
    perceived = mean + by_video[prompt // PROMPTS_PER_VIDEO] + by_prompt[prompt] + by_annotator[annotator]
    rows = np.arange(votes)
    lead = perceived[rows, left] - perceived[rows, right]
    return VoteArrays(
        left=(prompt * models + left).astype(np.int32),
        right=(prompt * models + right).astype(np.int32),
        outcome=(rng.random(votes) > 1 / (1 + np.exp(-lead))).astype(np.int8),
        weight=np.ones(votes),
        sides_known=np.ones(votes, dtype=np.bool_),
        annotator=annotator.astype(np.int32),
        group=np.full(votes, -1, dtype=np.int32),
        response_prompt=np.repeat(np.arange(prompts, dtype=np.int32), models),
        response_model=np.tile(np.arange(models, dtype=np.int32), prompts),
        prompts=tuple(f"p{p}" for p in range(prompts)),
        responses=tuple(f"p{p}-{m}" for p in range(prompts) for m in range(models)),
        models=tuple(f"m{m:02}" for m in range(models)),
        annotators=tuple(f"a{a}" for a in range(annotators)),
        prompt_video=(np.arange(prompts) // PROMPTS_PER_VIDEO).astype(np.int32),
    )


def coverage(seeds: int) -> int:
    """Print the share of 90% intervals that cover the truth; return 1 if any world misses the goal."""
    print(f"{'videos':>6} {'annotators':>10} {'votes':>7}  {'deviation by video, prompt, annotator':<38} covered")
    print(f"{'':>67} {'by video':>9} {'by prompt':>9} {'naive':>9}")
    missed = 0
    for videos, annotators, votes, deviations in CROSSED:
        rng = np.random.default_rng(0)
        mean = np.sort(rng.normal(size=MODELS))
        large = crossed_world(
            rng, mean, videos=40 * videos, annotators=40 * annotators, votes=400_000, deviations=deviations
        )
        truth = leaderboard(large).frame.sort("model")["strength"].to_numpy()
        inside = np.zeros(3)
        for _ in range(seeds):
            world = crossed_world(rng, mean, videos=videos, annotators=annotators, votes=votes, deviations=deviations)
            for view, own in enumerate((world, replace(world, prompt_video=None), as_independent(world))):
                frame = leaderboard(own).frame.sort("model")
                inside[view] += np.mean((frame["low"].to_numpy() <= truth) & (truth <= frame["high"].to_numpy()))
        share = inside / seeds
        good = 0.88 <= share[0] <= 0.94
        missed += not good
        print(
            f"{videos:6} {annotators:10} {votes:7}  {', '.join(map(str, deviations)):<38} "
            + " ".join(f"{each:9.3f}" for each in share)
            + ("" if good else "  FAIL")
        )
    return int(missed > 0)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--coverage", action="store_true", help="measure what the intervals cover")
    arguments = parser.parse_args()
    if arguments.coverage:
        return coverage(arguments.seeds)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
