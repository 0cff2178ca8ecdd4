"""Seconds of ``curate.rank`` and the leaderboard, beside evalica's Bradley-Terry with a bootstrap of 100 draws.

    python -m benchmarks.rank
    python -m benchmarks.rank --votes votes.csv --prompt prompt --annotator worker

The simulated table has 94 thousand votes on 500 prompts and 19 models. Goal: ``curate.rank`` in 2
seconds, warm, intervals of ranks included.
Exits with 1 when it is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import TypeVar

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(threads, "1")

import evalica
import numpy as np
import polars as pl

import curate
from curate.simulation.world import simulate_world
from schemas.config import SimulateConfig

GOAL = 2.0
DRAWS = 100
Value = TypeVar("Value")


def simulated() -> pl.DataFrame:
    """A table of 94 thousand votes, the responses named after their models."""
    world = simulate_world(SimulateConfig(prompts=500, models=19, votes_per_pair=1.1, seed=1))
    votes = world.votes
    model = np.array(votes.models)[votes.response_model]
    return pl.DataFrame(
        {
            "prompt": np.array(votes.prompts)[votes.response_prompt[votes.left]],
            "left": model[votes.left],
            "right": model[votes.right],
            "winner": np.array(["left", "right", "tie", "both_bad"])[votes.outcome],
            "annotator": np.array(votes.annotators)[votes.annotator],
        }
    )


def timed(name: str, call: Callable[[], Value]) -> tuple[Value, float]:
    """Call twice and print the seconds of both; returns the second value and its seconds."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        value = call()
        seconds.append(time.perf_counter() - start)
    print(f"{name:<44} first {seconds[0]:6.2f} s   warm {seconds[1]:6.2f} s")
    return value, seconds[1]


def evalica_bootstrap(frame: pl.DataFrame, left: str, right: str, winner: str) -> None:
    """The usual leaderboard: Bradley-Terry on all votes, and draws of single votes."""
    kinds = {"left": evalica.Winner.X, "right": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    outcome = [kinds.get(value, evalica.Winner.Draw) for value in frame[winner]]
    one, other, rng = frame[left].to_list(), frame[right].to_list(), np.random.default_rng(0)
    evalica.bradley_terry(one, other, outcome)
    for _ in range(DRAWS):
        drawn = rng.integers(0, len(one), len(one))
        evalica.bradley_terry([one[i] for i in drawn], [other[i] for i in drawn], [outcome[i] for i in drawn])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--votes")
    parser.add_argument("--prompt")
    parser.add_argument("--annotator")
    arguments = parser.parse_args()
    frame = pl.read_csv(arguments.votes) if arguments.votes else simulated()
    print(f"{len(frame):,} votes")

    def ranked() -> curate.RankResult:
        return curate.rank(frame, prompt=arguments.prompt, annotator=arguments.annotator)

    result, of_rank = timed("curate.rank, auto, with intervals", ranked)
    board, _ = timed("  .leaderboard(), clustered", result.leaderboard)
    timed("  .annotators()", result.annotators)
    columns = result.columns
    timed(
        f"evalica bradley-terry, {DRAWS} draws of votes",
        lambda: evalica_bootstrap(frame, columns.left, columns.right, columns.winner),
    )
    print()
    print(result.summary())
    print(board.select("rank", "model", "class", "strength", "low", "high").head(5))
    if not arguments.votes and of_rank > GOAL:
        print(f"goal missed: {of_rank:.2f} s > {GOAL} s")
        sys.exit(1)


if __name__ == "__main__":
    main()
