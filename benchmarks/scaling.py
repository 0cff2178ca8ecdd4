"""How long a round of ``denoise --by-bucket`` takes with more votes and more workers than this machine has.

Unit costs are measured here: a round of one bucket per vote, its files, and the sums of one bucket from a worker to the
driver. Then rounds are simulated: workers take buckets in order, times of equal buckets vary by 15% (lognormal), and
the driver receives and adds the sums one after another, in the order of the buckets.

    python -m benchmarks.scaling [--votes 1000000000] [--annotators 1000000]
"""

from __future__ import annotations

import argparse
import heapq
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.engine import LocalEngine, Part
from curate.rankers.hierarchical.buckets import fit_files
from curate.simulation.world import simulate_world
from curate.votes.files import write_votes
from schemas.config import SimulateConfig

SPREAD = 0.15
"""Standard deviation of the logarithm of the times of equal buckets."""
BYTES = 96
"""Of the sums for each annotator: 3 derivatives and 9 second derivatives."""


class Costs(NamedTuple):
    """Seconds."""

    vote: float
    """Of a round for each vote, files included."""
    bucket: float
    """Of a round for each bucket."""
    megabyte: float
    """Of the driver to receive and add a megabyte of sums."""


def rounds(folder: Path, prompts: int) -> tuple[int, float, int]:
    """Votes in a file, the seconds of a fit to it, and its rounds."""
    config = SimulateConfig(prompts=prompts, models=19, annotators=200, votes_per_pair=1.2, seed=1)
    votes = simulate_world(config).votes
    path = folder / f"{prompts}.npz"
    write_votes(path, votes)
    sample = votes.of_prompts(np.arange(len(votes.prompts)) < 60)
    begin = time.perf_counter()
    fit = fit_files([path], sample, folder / f"fit-{prompts}")
    return len(votes.left), time.perf_counter() - begin, fit.rounds


def measure(annotators: int = 20_000, parts: int = 24) -> Costs:
    """The unit costs on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        rounds(Path(folder), 60)  # compiles the kernels
        (few, short, first), (many, long, second) = (rounds(Path(folder), prompts) for prompts in (60, 1200))
    each, other = short / first, long / second
    vote = (other - each) / (many - few)
    with LocalEngine(workers=1) as engine:
        found = engine.map(np.ones, [Part(str(k), (annotators, BYTES // 8)) for k in range(parts + 1)], timeout=600)
        total, begin = next(found), time.perf_counter()
        for result in found:
            total = total + result
        megabyte = (time.perf_counter() - begin) / parts / (annotators * BYTES / 1e6)
    return Costs(vote, max(each - few * vote, 0.0), megabyte)


def seconds(
    costs: Costs, votes: float, annotators: float, buckets: int, workers: int, rng: np.random.Generator
) -> float:
    """The simulated time of a round."""
    work = (costs.bucket + costs.vote * votes / buckets) * np.exp(rng.normal(-(SPREAD**2) / 2, SPREAD, buckets))
    free = [0.0] * min(workers, buckets)
    driver, ends = 0.0, list[float]()
    for one in work.tolist():  # the next bucket goes to the worker that is free first
        end = heapq.heappop(free) + one
        heapq.heappush(free, end)
        ends.append(end)
    for end in ends:
        driver = max(driver, end) + costs.megabyte * annotators * BYTES / 1e6
    return driver


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--votes", type=float, default=1e9)
    parser.add_argument("--annotators", type=float, default=1e6)
    options = parser.parse_args()
    costs = measure()
    print(
        f"measured: {1e6 * costs.vote:.2f} µs for a vote, {1e3 * costs.bucket:.1f} ms for a bucket, "
        f"{1e3 * costs.megabyte:.2f} ms for a megabyte of sums"
    )
    print(f"{options.votes:,.0f} votes, {options.annotators:,.0f} annotators; seconds of a round (speed-up)")
    print(
        f"{'workers':>8}"
        + "".join(f"{f'{buckets} buckets':>20}" for buckets in (64, 1024))
        + f"{'10,000 annotators':>24}"
    )
    first: dict[int, float] = {}
    for workers in (1, 4, 16, 64, 256, 1024):
        line = f"{workers:8}"
        for column, (buckets, annotators) in enumerate(
            ((64, options.annotators), (1024, options.annotators), (1024, 1e4))
        ):
            rng = np.random.default_rng(0)
            found = float(
                np.mean([seconds(costs, options.votes, annotators, buckets, workers, rng) for _ in range(20)])
            )
            first.setdefault(column, found)
            line += f"{found:{14 if column == 2 else 12}.1f} ({first[column] / found:4.0f}×)"
        print(line)


if __name__ == "__main__":
    main()
