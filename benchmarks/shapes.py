"""Seconds and peak memory of whole runs on votes of extreme shapes: everything from votes to rankings with intervals.

    python -m benchmarks.shapes
    python -m benchmarks.shapes --shapes "500 responses" campaign --ranker bradley-terry

Each shape runs in a process of its own, after a small world that loads what is needed and compiles the kernels:
``rank_votes`` with the ranker (auto: the comparison on held-out votes, the ranking, its intervals, expected tau), and
the leaderboard where models are known. Exits with 1 if a goal is missed: one of seconds is met by the elapsed seconds
or by the CPU seconds, which an idle machine does not exceed.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does

import numpy as np

from curate.array_types import Index
from curate.denoising.ranking import rank_votes
from curate.evaluation.leaderboard import leaderboard
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig, SimulateConfig


class Shape(NamedTuple):
    """A shape of votes, and the goals for it."""

    votes: Callable[[], VoteArrays]
    seconds: float
    gib: float = np.inf
    models: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="NAME")
    parser.add_argument("--ranker", default="auto")
    parser.add_argument("--effort", choices=("low", "normal", "high"), default="normal")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    config = DenoiseConfig(ranker=options.ranker, effort=options.effort)
    if options.child:
        measure(SHAPES[options.child], config)
        return 0
    print(f"ranker {config.ranker}, effort {config.effort}, load {os.getloadavg()[0]:.1f} at the start")
    print(f"{'shape':<26}{'votes':>10}{'method':>18}{'seconds':>9}{'CPU s':>8}{'GiB':>6}{'unproven':>10}   goal")
    missed = 0
    for name in options.shapes:
        command = [sys.executable, "-m", "benchmarks.shapes", "--child", name]
        command += ["--ranker", config.ranker, "--effort", config.effort]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        votes, method, seconds, cpu, gib, unproven = done.stdout.splitlines()[-1].split("\t")
        goal = SHAPES[name]
        met = min(float(seconds), float(cpu)) <= goal.seconds and float(gib) <= goal.gib
        missed += not met
        wanted = f"{goal.seconds:g} s" + (f", {goal.gib:g} GiB" if np.isfinite(goal.gib) else "")
        row = f"{name:<26}{int(votes):>10,}{method:>18}{float(seconds):>9.2f}{float(cpu):>8.2f}{float(gib):>6.2f}"
        print(f"{row}{unproven:>10}   {'PASS' if met else 'FAIL'}  {wanted}", flush=True)
    return 1 if missed else 0


def measure(shape: Shape, config: DenoiseConfig) -> None:
    """Print votes, method, seconds, CPU seconds, peak GiB, and prompts whose feedback arc set is not proven optimal."""
    small = simulate_world(SimulateConfig(prompts=15, models=19, seed=1)).votes
    rank_votes(small, config)
    rank_votes(one_size(1, 80, 1_000), config)  # kernels of large components
    leaderboard(small)
    votes = shape.votes()
    start, cpu = time.perf_counter(), time.process_time()
    denoised = rank_votes(votes, config)
    _ = denoised.expected_tau
    if shape.models:
        leaderboard(votes)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    unproven = "–" if denoised.bounded is None else int((~denoised.bounded.converged).sum())
    print(len(votes.left), denoised.method, seconds, cpu, gib, unproven, sep="\t")


def draw(size: Index, count: Index, *, annotators: int = 60, models: bool = False) -> VoteArrays:
    """Return votes on random pairs of each prompt, of annotators of discrimination 1 with a tenth of ties.

    size: (P,) responses of each prompt; strengths are N(0, 1.4²). count: (P,) votes on each.
    """
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(len(size)), count)
    first, n = (np.cumsum(size) - size)[prompt], size[prompt]
    left = rng.integers(0, n)
    right = (left + rng.integers(1, n)) % n
    strength = rng.normal(0.0, 1.4, size.sum())
    advantage = strength[first + left] - strength[first + right]
    place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    return VoteArrays(
        left=(first + left).astype(np.int32),
        right=(first + right).astype(np.int32),
        outcome=np.where(rng.random(len(left)) < 0.1, 2, advantage < rng.logistic(size=len(left))).astype(np.int8),
        weight=np.ones(len(left)),
        sides_known=np.ones(len(left), dtype=np.bool_),
        annotator=rng.integers(0, annotators, len(left)).astype(np.int32),
        group=np.full(len(left), -1, dtype=np.int32),
        response_prompt=np.repeat(np.arange(len(size)), size).astype(np.int32),
        response_model=(place if models else np.full(len(place), -1)).astype(np.int32),
        prompts=tuple(map(str, range(len(size)))),
        responses=tuple(map(str, range(len(place)))),
        models=tuple(map(str, range(size.max()))) if models else (),
        annotators=tuple(map(str, range(annotators))),
    )


def one_size(prompts: int, responses: int, votes: int, *, annotators: int = 60, models: bool = False) -> VoteArrays:
    """Return votes on prompts with equally many responses and votes."""
    size = np.full(prompts, responses)
    return draw(size, np.full(prompts, votes), annotators=annotators, models=models)


def uneven() -> VoteArrays:
    """Return 14,573 votes on 171 prompts with 4 to 112 responses, most of which have about 14."""
    spread = np.random.default_rng(1).normal(np.log(14), 0.9, 171)
    size = np.clip(np.rint(np.exp(spread)), 4, 112).astype(np.int64)
    size[:2] = 4, 112
    count = np.maximum(size, np.rint(14_573 * size / size.sum()).astype(np.int64))
    count[count.argmax()] += 14_573 - count.sum()
    return draw(size, count)


def campaign(prompts: int) -> VoteArrays:
    """Return the votes of a simulated campaign: 19 models, 1.1 votes per pair."""
    return simulate_world(SimulateConfig(prompts=prompts, models=19, votes_per_pair=1.1, seed=1)).votes


SHAPES = {
    "60 responses": Shape(lambda: one_size(1, 60, 720), 10),
    "120 responses": Shape(lambda: one_size(1, 120, 1_440), 10),
    "240 responses": Shape(lambda: one_size(1, 240, 2_880), 10),
    "500 responses": Shape(lambda: one_size(1, 500, 6_000), 10),
    "171 uneven prompts": Shape(uneven, 5),
    "leaderboard of 200 models": Shape(
        lambda: one_size(1, 200, 1_000_000, annotators=20_000, models=True), 10, models=True
    ),
    "200K prompts × 2 votes": Shape(lambda: one_size(200_000, 2, 2, annotators=2_000), 15, 1.0),
    "campaign": Shape(lambda: campaign(500), 1, models=True),
    "campaign × 100": Shape(lambda: campaign(50_000), 40, models=True),
}

if __name__ == "__main__":
    sys.exit(main())
